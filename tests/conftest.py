"""Fixtures of the tests: a sandbox of their own, apart from the one of `make up`."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cli import host
from cli.targets import target
from common import engine
from tests.support import variants, waiting
from tests.support.releases import Releases
from tests.support.site import NOT_RUN, OWN, Site, beside, end_abandoned, make

SITES = ("tests/site/changing", "tests/site/serving")
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


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """With --dist=each, the first workers have a site each and the last one every other test: its lane."""
    if node.config.getvalue("dist") == "each":
        given = node.config.args
        lanes = [[site] for site in SITES if "tests/site" in given] + [[one for one in given if one != "tests/site"]]
        node.workerinput["lane"] = lanes[int(node.gateway.id.removeprefix("gw"))]


def pytest_configure(config: pytest.Config) -> None:
    """A worker imports the tests of its lane only. The sites take longest; the others have a lower priority."""
    if lane := getattr(config, "workerinput", {}).get("lane"):
        config.args = lane
        if lane[0] not in SITES:
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
