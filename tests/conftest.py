"""What the tests share: a sandbox of their own, apart from the one that `make up` made, and what is up in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support import variants
from tests.support.releases import Releases
from tests.support.site import OWN, Beginning, Site, end_abandoned, make
from verbs import host
from verbs.environment import target

if "SANDBOX_NAME" not in os.environ:
    os.environ.update(OWN)
os.environ["TARGET"] = "sandbox"
for name in ("TAG", "TO", "FROM", "HOST", "CMD"):
    os.environ.pop(name, None)


BEGINNING = pytest.StashKey[Beginning]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begins `make up` before the first test, where one of the chosen needs it: most of its time it waits."""
    needed = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if "up" in needed and not session.config.option.collectonly:
        end_abandoned()
        session.stash[BEGINNING] = Beginning()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Takes down what was begun, if no test came so far as to need it."""
    if beginning := session.stash.get(BEGINNING, None):
        beginning.interrupt()
        make("down")


@pytest.fixture(scope="session")
def up(request: pytest.FixtureRequest) -> Iterator[Site]:
    """`make up` in the tests' own sandbox, and `make down` when the last test is over (KEEP=yes: it stays up)."""
    beginning = request.session.stash[BEGINNING]
    del request.session.stash[BEGINNING]
    try:
        status, output = beginning.end()
        assert status == 0, output[-6000:]
        here = target()
        yield Site(f"http://127.0.0.1:{os.environ['EDGE_PORT']}", here, host.chosen(here))
    finally:
        gone = make("status" if os.environ.get("KEEP") == "yes" else "down")
        assert gone.returncode == 0, gone.stdout


@pytest.fixture(scope="session")
def eventually() -> Callable[..., object]:
    """Calls something until it returns a true value without an error, for a bounded time; returns that value."""

    def poll(attempt: Callable[[], object], seconds: float = 60, pause: float = 0.5) -> object:
        deadline = time.monotonic() + seconds
        while True:
            try:
                value = attempt()
                if value or time.monotonic() > deadline:
                    assert value, f"not within {seconds} s"
                    return value
            except Exception:
                if time.monotonic() > deadline:
                    raise
            time.sleep(pause)

    return poll


@pytest.fixture(scope="session")
def releases(up) -> Releases:
    return Releases(up)


@pytest.fixture(scope="session")
def pushed(releases) -> Iterator[Callable[[str], str]]:
    """Gives the tag of an image in ECR: a new one of a kind of images/Dockerfile."""
    good, made = releases.live()["tag"], []

    def push(kind: str) -> str:
        made.append(variants.push(releases.site.target, good, kind))
        return made[-1]

    yield push
    variants.remove(made)
