"""molecule's scenarios, on hosts of their own beside the project's: they run while other tests do."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.sites import ROOT

Scenarios = dict[str, "Future[subprocess.CompletedProcess[str]]"]


@pytest.fixture(scope="session")
def scenarios(request: pytest.FixtureRequest, up) -> Iterator[Scenarios]:
    """Every scenario that a chosen test asks for, begun one after the other as soon as the site is up."""
    chosen = [
        item.callspec.params["scenario"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == "test_scenario"
    ]
    environment = up.target.environment()

    def run(name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["molecule", "test", "--scenario-name", name],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
            check=False,
        )

    with ThreadPoolExecutor(max_workers=1) as pool:
        yield {name: pool.submit(run, name) for name in chosen}
        pool.shutdown(cancel_futures=True)
