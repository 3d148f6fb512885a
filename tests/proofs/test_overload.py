"""Overload is shed: at twice the rate that the site carries, what cannot be served is refused at once.

The replicas get a part of a core each, so that the load's own process is not what saturates.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.load import Load
from tests.support.releases import Releases
from tests.support.site import run

RESULTS = Path(__file__).resolve().parents[2] / ".state" / "proofs.md"
CORES = 0.2  # of each replica
RATES = (25, 50, 75, 100, 150, 200, 250, 300, 400, 500)  # reads a second, and as many posts
CALM, SECONDS, RECOVERY = 0.25, 20, 10.0  # seconds: the longest reply that is carried, a phase, until all is well


class Seen(NamedTuple):
    """When a request began, how long it took, and what was wrong with its reply; empty: nothing."""

    begin: float
    seconds: float
    problem: str


class Crowd(Load):
    """A load of a thousand clients."""

    def __init__(self, url: str, rate: int) -> None:
        super().__init__(url, rate)
        self.seen: list[Seen] = []
        self._plain = self._head
        # Below what the firewall lets one address have.
        self._connections = asyncio.Semaphore(480)

    async def _request(self, method: str, path: str, body: bytes) -> bool:
        failed = len(self.failures)
        good = await super()._request(method, path, body)
        seconds = self.seconds[-1]
        problem = self.failures[-1][2] if not good and len(self.failures) > failed else ""
        self.seen.append(Seen(asyncio.get_running_loop().time() - seconds, seconds, problem))
        return good

    async def _exchange(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self._head = f"{self._plain}X-Forwarded-For: 9.9.{random.randrange(4)}.{random.randrange(250)}\r\n"
        return await super()._exchange(method, path, body)


@pytest.fixture
def weak(releases: Releases) -> Iterator[None]:
    """Replicas with a part of a core, and an edge that takes the load's word for who the client is."""
    replicas = "$(docker ps --quiet --filter label=com.docker.compose.service=api)"

    def configure(proxies: list[str]) -> None:
        given = json.dumps({"stack_trusted_proxies": proxies, "stack_watch_seconds": 0})
        command = ["ansible-playbook", "site.yml", "--tags", "stack", "--extra-vars", given]
        done = run(command, releases.site.target.environment(), 300)
        assert done.returncode == 0, done.stdout[-3000:]

    configure(["0.0.0.0/0"])
    try:
        assert releases.run(f"docker update --cpus {CORES} {replicas}").returncode == 0
        yield
    finally:
        releases.run(f"docker update --cpus 2 {replicas}")
        configure([])


def phase(releases: Releases, rate: int, seconds: float) -> Crowd:
    """So many reads and as many posts a second."""

    async def load() -> Crowd:
        crowd, stop = Crowd(releases.edge, rate), asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, stop.set)
        await crowd.run(stop)
        crowd.close()
        return crowd

    return asyncio.run(load())


def p99(seen: list[Seen]) -> float:
    return sorted(one.seconds for one in seen)[int(len(seen) * 0.99)] if seen else 0.0


def test_twice_the_rate_and_back(releases: Releases, weak: None) -> None:
    carried = 0
    for rate in RATES:
        crowd = phase(releases, rate, 8)
        if crowd.failures or p99(crowd.seen) > CALM:
            break
        carried = rate
    assert carried, "the site carries nothing"
    over, back = phase(releases, 2 * carried, SECONDS), phase(releases, carried // 2, SECONDS)
    served = [one for one in over.seen if not one.problem]
    refused = [one for one in over.seen if one.problem]
    begin = min(one.begin for one in back.seen)
    settled = [one for one in back.seen if one.begin > begin + RECOVERY]
    with RESULTS.open("a") as file:
        file.write(
            f"\n| overload, replicas with {CORES} of a core | requests/s | served | p99 s | refused | p99 s |\n"
            "|---|--:|--:|--:|--:|--:|\n"
            f"| twice the rate that it carries | {4 * carried} | {len(served)} | {p99(served):.2f} | {len(refused)} |"
            f" {p99(refused):.2f} |\n"
            f"| then half of it, after {RECOVERY:.0f} s | {2 * (carried // 2)} | {len(settled)} | {p99(settled):.2f} |"
            f" {sum(bool(one.problem) for one in settled)} | |\n"
        )
    assert served and {one.problem for one in refused} <= {"status 503"}, {one.problem for one in refused}
    assert p99(served) <= 1 and p99(refused) <= 1
    assert not [one for one in settled if one.problem] and p99(settled) <= CALM
    assert releases.missing(over.acknowledged) == 0
