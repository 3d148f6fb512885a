"""A crowd of clients, for what a site carries: four reads for each post, and a few threads that most of them read."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Coroutine, Iterator
from typing import Any, NamedTuple

from cli import host
from tests.support.load import Load
from tests.support.releases import Releases

# Thread n has so many comments by n, and is read as often by n (Zipf's law).
COMMENTS, THREADS = 10_000, 1_000
CALM = 0.25  # seconds: a site carries a rate when 99 % of its replies take no longer, and none fails
STEP_SECONDS, FIRST, GROWTH, FINER = 6, 60, 1.4, 3

FILL = f"""
import sqlite3, time
base = sqlite3.connect("/var/lib/comentarios/comentarios.db", timeout=30)
rows = (
    (f"crowd-{{n}}", "alice@example.com", f"A comment of an ordinary length, number {{i}}.", int(time.time() * 1000))
    for n in range(1, {THREADS} + 1) for i in range({COMMENTS} // n)
)
with base:
    if not base.execute("SELECT 1 FROM comments WHERE content_id = 'crowd-1'").fetchone():
        base.executemany("INSERT INTO comments (content_id, email, comment, created_ms) VALUES (?, ?, ?, ?)", rows)
"""


class Seen(NamedTuple):
    """When a request began, how long it took, and what was wrong with its reply; empty: nothing."""

    begin: float
    seconds: float
    problem: str


class Crowd(Load):
    """An open-loop load of a thousand clients; the edge takes their addresses from it (`stack_trusted_proxies`)."""

    def __init__(self, url: str, rate: int) -> None:
        super().__init__(url, rate)
        self.seen: list[Seen] = []
        self._plain = self._head
        # Below what the firewall lets one address have.
        self._connections = asyncio.Semaphore(480)

    def _tick(self, number: int) -> list[Coroutine[Any, Any, None]]:
        return [self._get(number) if number % 5 else self._post(number)]

    async def _get(self, number: int) -> None:
        # An n below so many with the probability that Zipf's law gives it, nearly.
        thread = int(THREADS ** random.random())
        await self._request("GET", f"/api/comment/list/crowd-{thread}?limit=20", b"")

    async def _request(self, method: str, path: str, body: bytes) -> bool:
        good = await super()._request(method, path, body)
        seconds = self.seconds[-1]
        problem = "" if good else self.failures[-1][2]
        self.seen.append(Seen(asyncio.get_running_loop().time() - seconds, seconds, problem))
        return good

    async def _exchange(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self._head = f"{self._plain}X-Forwarded-For: 9.9.{random.randrange(4)}.{random.randrange(250)}\r\n"
        return await super()._exchange(method, path, body)

    @property
    def calm(self) -> bool:
        return not self.failures and p99(self.seen) <= CALM


def p99(seen: list[Seen]) -> float:
    """Seconds that 99 % of the replies took at most."""
    return sorted(one.seconds for one in seen)[int(len(seen) * 0.99)] if seen else 0.0


@contextlib.contextmanager
def prepared(releases: Releases) -> Iterator[None]:
    """A site that has the threads, and whose edge takes the clients' addresses from the load."""
    # As the API's user, who owns the database's files.
    command = "sudo setpriv --reuid 10001 --regid 10001 --clear-groups python3 -"
    filled = host.run(releases.site.target, releases.site.host, command, 120, FILL)
    assert filled.returncode == 0, filled.stderr
    _configure(releases, ["0.0.0.0/0"])
    try:
        yield
    finally:
        _configure(releases, [])


def _configure(releases: Releases, proxies: list[str]) -> None:
    done = releases.site.play("--tags", "stack", stack_watch_seconds=0, stack_trusted_proxies=proxies)
    assert done.returncode == 0, done.stdout[-3000:]


def phase(releases: Releases, rate: int, seconds: float = STEP_SECONDS) -> Crowd:
    """So many requests a second for so many seconds."""

    async def load() -> Crowd:
        crowd, stop = Crowd(releases.edge, rate), asyncio.Event()
        asyncio.get_running_loop().call_later(seconds, stop.set)
        await crowd.run(stop)
        crowd.close()
        return crowd

    return asyncio.run(load())


def carried(releases: Releases) -> tuple[int, Crowd]:
    """The highest rate that the site carries, and the crowd of that rate; 0 where it carries not even the first."""
    good, best, bad = 0, phase(releases, FIRST), 0
    if not best.calm:
        return 0, best
    good = FIRST
    while not bad:
        rate = int(good * GROWTH)
        crowd = phase(releases, rate)
        good, best, bad = (rate, crowd, 0) if crowd.calm else (good, best, rate)
    for _ in range(FINER):
        rate = (good + bad) // 2
        crowd = phase(releases, rate)
        good, best, bad = (rate, crowd, bad) if crowd.calm else (good, best, rate)
    return good, best
