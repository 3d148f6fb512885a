"""molecule's scenarios, on hosts of their own beside the project's: they run while other tests do."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.site import run

Scenarios = dict[str, "Future[subprocess.CompletedProcess[str]]"]


@pytest.fixture(scope="session", autouse=True)
def scenarios(request: pytest.FixtureRequest, up) -> Iterator[Scenarios]:
    """Every scenario that a chosen test asks for, begun one after the other as soon as the site is up."""
    chosen = [
        item.callspec.params["scenario"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == "test_scenario"
    ]
    environment = up.target.environment()

    with ThreadPoolExecutor(max_workers=1) as pool:
        command = ["molecule", "test", "--scenario-name"]
        yield {name: pool.submit(run, [*command, name], environment, 1200) for name in chosen}
        pool.shutdown(cancel_futures=True)
