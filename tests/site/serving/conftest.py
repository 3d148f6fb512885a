"""Starts slow, independent work as soon as the site is up, while other tests run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.site import run

Scenarios = dict[Path, "Future[subprocess.CompletedProcess[str]]"]


def _chosen(request: pytest.FixtureRequest, name: str) -> list[pytest.Function]:
    """The tests of this name that this run was asked for."""
    return [item for item in request.session.items if isinstance(item, pytest.Function) and item.originalname == name]


@pytest.fixture(scope="session", autouse=True)
def scenarios(request: pytest.FixtureRequest, up) -> Iterator[Scenarios]:
    """molecule's scenarios, one after the other, on hosts of their own beside the project's."""
    environment = up.target.environment()
    # The site's own tests come first.
    command = ["nice", "molecule", "test"]
    with ThreadPoolExecutor(max_workers=1) as pool:
        folders = [item.callspec.params["folder"] for item in _chosen(request, "test_scenario")]
        yield {one: pool.submit(run, ["env", f"--chdir={one}", *command], environment, 1200) for one in folders}
        pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="session", autouse=True)
def scanned(request: pytest.FixtureRequest, up) -> Iterator[Future[subprocess.CompletedProcess[str]] | None]:
    """tests/support/scan.py's output for the host; None where no test asks."""
    command = ["nice", sys.executable, "-m", "tests.support.scan", up.host.address]
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool.submit(run, command, None, 300) if _chosen(request, "test_every_tcp_port") else None
