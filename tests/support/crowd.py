"""Load by many clients: four reads per post, most of them on a few threads."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import statistics
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Any, NamedTuple

from cli import host
from tests.support.load import Load
from tests.support.releases import Releases

# Thread n has so many comments by n, and is read as often by n (Zipf's law): from 10,000 comments to one.
COMMENTS = THREADS = 10_000
CALM = 0.25  # seconds: a site carries a rate when 99 % of its replies take no longer, and none fails
# Of a step, at least: 99 % of few requests depend on one or two of them.
STEP_SECONDS, STEP_REQUESTS = 10, 800
# Of the rate that it was asked for: the load itself was too slow if it sent less.
SENT = 0.95
# How often a load measures the machine's speed.
SPEED_SECONDS = 0.25
PROXIES = ["0.0.0.0/0"]
# The walk to that rate: how far apart its first two steps are, its last ones, and how many of those; where it ends.
APART, NEAR, WALK, LEAST = 1.25, 1.05, 10, 20

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
    """An open-loop load of a thousand clients; the edge takes their addresses from it (`stack_trusted_proxies`).

    It sets `stop` once more than `slow` requests took longer than CALM or failed.
    """

    def __init__(self, url: str, rate: int, stop: asyncio.Event, slow: float) -> None:
        super().__init__(url, rate)
        self._stop, self._slow = stop, slow
        self.speeds: list[float] = []
        self.seen: list[Seen] = []
        # By how much each request began late: what the load itself adds to what it sees, at least.
        self.late: list[float] = []
        self._plain = self._head
        # Below what the firewall lets one address have.
        self._connections = asyncio.Semaphore(480)

    def _tick(self, number: int) -> list[Coroutine[Any, Any, None]]:
        self.late.append(asyncio.get_running_loop().time() - self._begin - number / self._rate)
        if number / self._rate > len(self.speeds) * SPEED_SECONDS:
            self.speeds.append(speed())
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
        self._slow -= bool(problem) or seconds > CALM
        if self._slow < 0:
            self._stop.set()
        return good

    async def _exchange(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        self._head = f"{self._plain}X-Forwarded-For: 9.9.{random.randrange(4)}.{random.randrange(250)}\r\n"
        return await super()._exchange(method, path, body)

    @property
    def calm(self) -> bool:
        begun = [one.begin - self._begin for one in self.seen if one.begin >= self._begin]
        return not self.failures and p99(self.seconds) <= CALM and len(begun) >= SENT * self._rate * max(begun)


def speed() -> float:
    """How fast this machine's CPU is at the moment: 1.0 where a small loop takes a millisecond of it."""
    begin = time.thread_time()
    sum(range(50_000))
    return 0.001 / (time.thread_time() - begin)


def p99(seconds: Iterable[float]) -> float:
    """What 99 % of them are at most."""
    ordered = sorted(seconds)
    return ordered[int(len(ordered) * 0.99)] if ordered else 0.0


@contextlib.contextmanager
def prepared(releases: Releases) -> Iterator[None]:
    """A site that has the threads, and whose edge takes the clients' addresses from the load."""
    fill(releases)
    configure(releases, PROXIES)
    try:
        yield
    finally:
        configure(releases, [])


def fill(releases: Releases) -> None:
    """Writes the threads into SQLite's file, unless they are there."""
    # As the API's user, who owns the database's files.
    command = "sudo setpriv --reuid 10001 --regid 10001 --clear-groups python3 -"
    filled = host.run(releases.site.target, releases.site.host, command, 120, FILL)
    assert filled.returncode == 0, filled.stderr


def configure(releases: Releases, proxies: list[str], replicas: int = 2) -> None:
    """A site with so many replicas, whose edge takes clients' addresses from these proxies."""
    done = releases.site.play(
        "--tags", "stack", stack_watch_seconds=0, stack_trusted_proxies=proxies, stack_api_replicas=replicas
    )
    assert done.returncode == 0, done.stdout[-3000:]


def phase(releases: Releases, rate: int, seconds: float, slow: float = math.inf) -> Crowd:
    """So many requests a second for so many seconds, or until so many requests took too long or failed."""

    async def load() -> Crowd:
        stop = asyncio.Event()
        crowd = Crowd(releases.edge, rate, stop, slow)
        asyncio.get_running_loop().call_later(seconds, stop.set)
        await crowd.run(stop)
        crowd.close()
        return crowd

    return asyncio.run(load())


def step(releases: Releases, rate: int) -> Crowd:
    """A phase that is long enough to tell whether a site carries this rate; it ends at once if it does not."""
    seconds = max(STEP_SECONDS, STEP_REQUESTS / rate)
    return phase(releases, rate, seconds, 0.01 * rate * seconds)


def carried(step: Callable[[int], bool], guess: int) -> int:
    """The rate at which a site is calm in half of the steps, near a guess; 0 if it carries none.

    It walks up where a step was calm and down where it was not, by less after each turn, and takes the mean of the
    last rates. A search that halves an interval believes each step: one disturbed step misleads all later ones.

    Args:
        step: tries a rate, and says whether the site was calm.
    """
    rates: list[int] = []
    rate, apart, before = guess, APART, None
    while rate >= LEAST and len(rates) < WALK:
        calm = step(rate)
        if before not in {None, calm}:
            apart = max(NEAR, math.sqrt(apart))
        before = calm
        if apart == NEAR:
            rates.append(rate)
        rate = round(rate * apart if calm else rate / apart)
    return round(statistics.geometric_mean(rates)) if rates else 0
