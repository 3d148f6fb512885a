"""What the tests share: a sandbox of their own, apart from the one that `make up` made, and what is up in it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from cli import host
from cli.targets import target
from common import engine
from tests.support import variants, waiting
from tests.support.releases import Releases
from tests.support.site import NOT_RUN, OWN, Site, beside, end_abandoned, make

# Started in the background, as CI may do it, these are ignored, by every child, too.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)
if "PYTEST_XDIST_WORKER" in os.environ:
    # What the controller chose, and this worker's own beside it.
    os.environ.update(beside({name: os.environ[name] for name in OWN}, int(os.environ["PYTEST_XDIST_WORKER"][2:])))
else:
    os.environ.update({name: os.environ.get(name) or value for name, value in OWN.items()})
os.environ["TARGET"] = "sandbox"
for name in ("ENV", "PROJECT", "TAG", "TO", "FROM", "HOST", "CMD"):
    os.environ.pop(name, None)


class Lanes(LoadScopeScheduling):  # type: ignore[misc]
    """Gives one worker all that shares a folder of sites or a component's servers, and every other test by itself."""

    def _split_scope(self, nodeid: str) -> str:
        tier = re.match(r"tests/site/(\w+/)?|(api/)?tests/parts/(\w+/)?", nodeid)
        return tier[0] if tier else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes | None:
    # The groups of --dist=loadgroup stand in node ids, which this version of pytest does not let it change.
    return Lanes(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["gives_way"] = node.config.getvalue("dist") == "loadscope"


def pytest_runtest_setup(item: pytest.Item) -> None:
    """The sites take longest: the worker that has the rest of the tests gives way to them."""
    if getattr(item.config, "workerinput", {}).pop("gives_way", False) and not item.nodeid.startswith("tests/site/"):
        os.nice(5)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What other tests leave behind saves a wait for it; what changes the site's shape comes last."""
    late = ("needs_history", "reshapes_site")
    items.sort(key=lambda item: max((late.index(m.name) + 1 for m in item.iter_markers() if m.name in late), default=0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names what could not be tried here, and why, so that a skipped test is not taken for one that passed."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]
    for reason in sorted(set(reasons)):
        count = reasons.count(reason)
        terminalreporter.write_line(f"NOT RUN, {count} tests: {reason.partition(NOT_RUN)[2] or reason}", yellow=True)


@pytest.fixture(scope="session")
def up() -> Iterator[Site]:
    """`make up` in the tests' own sandbox, and `make down` when the last test is over (KEEP=yes: it stays up)."""
    # `make up` starts an engine if there is none.
    if engine.answers():
        end_abandoned()
    try:
        made = make("up", timeout=1500)
        assert made.returncode == 0, made.stdout[-6000:]
        here = target()
        yield Site(f"http://127.0.0.1:{os.environ['EDGE_PORT']}", here, host.chosen(here))
    finally:
        gone = make("status" if os.environ.get("KEEP") == "yes" else "down")
        assert gone.returncode == 0, gone.stdout


@pytest.fixture(scope="session")
def eventually() -> Callable[..., object]:
    """`tests.support.waiting.eventually`, for tests that take it as a fixture."""
    return waiting.eventually


@pytest.fixture(scope="session")
def releases(up: Site) -> Releases:
    return Releases(up)


@pytest.fixture(scope="session")
def pushed(releases: Releases) -> Iterator[Callable[[str], str]]:
    """Gives the tag of an image in ECR: a new one of a kind of images/Dockerfile."""
    good: str = releases.live()["tag"]
    made: list[str] = []

    def push(kind: str) -> str:
        made.append(variants.push(releases.site.target, good, kind))
        return made[-1]

    yield push
    variants.remove(made)
