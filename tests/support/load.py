"""An open-loop load: requests begin on time whether or not earlier ones have ended.

Run it with the URL, how many posts it sends a second, how long it waits for a reply, and how many reads it sends for
each post.

Runs until SIGINT or SIGTERM, then prints one line of JSON. Nothing is ever sent twice: a reply that does not come,
comes late or is no success is a failure. Its body says whether it is one.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlsplit

from tests.support import replies

RATE = 100  # of each kind, a second
TIMEOUT = 5.0  # seconds
# At most so many at a time: the load is one client for the host's firewall, which resets those above its limit (512).
CONNECTIONS = 256
THREADS = 50  # content_ids that comments go to


class Load:
    """Attributes:
    failures: what failed: kind, seconds since the start, reason.
    acknowledged: content_id → texts of the comments that the API said it has.
    seconds: how long each request took.
    without_retry_after: how many replies with 503 did not say when to try again.
    """

    def __init__(self, url: str, rate: int, timeout: float = TIMEOUT, reads: int = 1):
        parts = urlsplit(url)
        self._tls = parts.scheme == "https"
        self._address = (parts.hostname or "127.0.0.1", parts.port or (443 if self._tls else 80))
        self._reads = reads
        self._head = f"Host: {parts.netloc}\r\n"
        self._rate = rate
        self._timeout = timeout
        self._run = uuid.uuid4().hex[:8]
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        # Behind a load balancer, which alone has TLS, the firewall limits nobody.
        self._connections = asyncio.Semaphore(16 * CONNECTIONS if self._tls else CONNECTIONS)
        self.sent: Counter[str] = Counter()
        self.failures: list[tuple[str, float, str]] = []
        self.acknowledged: dict[str, list[str]] = {}
        self.seconds: list[float] = []
        self.without_retry_after = 0

    async def run(self, stop: asyncio.Event) -> None:
        self._begin = time.monotonic()
        # A content_id without a comment is not found: each gets its first one before the load begins.
        for number in range(THREADS):
            await self._post(-1 - number)
        self._begin = time.monotonic()
        tasks: set[asyncio.Task[None]] = set()
        number = 0
        while not stop.is_set():
            await asyncio.sleep(max(0.0, self._begin + number / self._rate - time.monotonic()))
            for task in self._tick(number):
                running = asyncio.create_task(task)
                tasks.add(running)
                running.add_done_callback(tasks.discard)
            number += 1
        await asyncio.gather(*tasks)

    def _tick(self, number: int) -> list[Coroutine[Any, Any, None]]:
        """What is sent at a time."""
        return [*(self._get(number + read) for read in range(self._reads)), self._post(number)]

    async def _get(self, number: int) -> None:
        await self._request("GET", f"/api/comment/list/{self._thread(number)}?limit=5", b"")

    async def _post(self, number: int) -> None:
        thread, text = self._thread(number), f"{self._run} {number}"
        body = json.dumps({"email": "load@example.com", "comment": text, "content_id": thread}).encode()
        if await self._request("POST", "/api/comment/new", body):
            self.acknowledged.setdefault(thread, []).append(text)

    def _thread(self, number: int) -> str:
        return f"load-{self._run}-{number % THREADS}"

    async def _request(self, method: str, path: str, body: bytes) -> bool:
        self.sent[method] += 1
        begin = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout), self._connections:
                problem = replies.fault(method, *await self._exchange(method, path, body))
        except TimeoutError:
            problem = f"no reply within {self._timeout:g} s"
        except (OSError, asyncio.IncompleteReadError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
        self.seconds.append(time.monotonic() - begin)
        if problem:
            self.failures.append((method, round(begin - self._begin, 2), problem))
        return not problem

    async def _exchange(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        reader, writer = self._kept() or await asyncio.open_connection(*self._address, ssl=self._tls or None)
        try:
            head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n"
            writer.write(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines[1:] if line)
            if headers.get("transfer-encoding") == "chunked":
                content = b""
                while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
                    content += (await reader.readexactly(size + 2))[:-2]
                await reader.readexactly(2)
            else:
                content = await reader.readexactly(int(headers["content-length"]))
        except BaseException:
            writer.close()
            raise
        if headers.get("connection") == "close":
            writer.close()
        else:
            self._idle.append((reader, writer))
        status = int(lines[0].split()[1])
        self.without_retry_after += status == 503 and "retry-after" not in headers
        return status, content

    def _kept(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection that is idle and open; the edge has closed those that were idle for minutes."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return None

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()

    def report(self) -> dict[str, Any]:
        ordered = sorted(self.seconds)
        reasons = Counter(reason for _, _, reason in self.failures)
        return {
            "run": self._run,
            "sent": dict(self.sent),
            "failed": dict(Counter(kind for kind, _, _ in self.failures)),
            "failures": self.failures[:50],
            "timeline": dict(Counter(int(when) for _, when, _ in self.failures)),
            "first_failure": min((when for _, when, _ in self.failures), default=None),
            "last_failure": max((when for _, when, _ in self.failures), default=None),
            "reasons": dict(reasons),
            "without_retry_after": self.without_retry_after,
            "other_body": reasons[replies.OTHER_BODY],
            "acknowledged": self.acknowledged,
            "p50": ordered[len(ordered) // 2] if ordered else 0.0,
            "p99": ordered[int(len(ordered) * 0.99)] if ordered else 0.0,
            "worst": ordered[-1] if ordered else 0.0,
        }


async def main(url: str, rate: int, timeout: float, reads: int) -> None:
    load, stop = Load(url, rate, timeout, reads), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await load.run(stop)
    load.close()
    print(json.dumps(load.report()))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
