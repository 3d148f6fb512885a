"""What the tests share: a sandbox of their own, apart from the one that `make up` made, and what is up in it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.sites import OWN, Site, end_abandoned, make
from verbs import host
from verbs.environment import target

if "SANDBOX_NAME" not in os.environ:
    os.environ.update(OWN)
os.environ["TARGET"] = "sandbox"
for name in ("TAG", "TO", "FROM", "HOST", "CMD"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def up() -> Iterator[Site]:
    """`make up` in the tests' own sandbox, and `make down` when the last test is over (KEEP=yes: it stays up)."""
    end_abandoned()
    try:
        done = make("up", timeout=1500)
        assert done.returncode == 0, done.stdout[-6000:]
        here = target()
        yield Site(f"http://127.0.0.1:{os.environ['EDGE_PORT']}", here, host.chosen(here), done.stdout)
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
