"""Clients that send arbitrary bytes: whole requests, parts of them, slowly, or at random."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import requests

from tests.support import replies

POST = b"POST /api/comment/new HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


class Client:
    """Sends bytes as they are and reads until the edge closes the connection, or the reply is there."""

    def __init__(self, address: str):
        self._address = (address, 80)

    def connect(self, source: str = "", receive_bytes: int = 0) -> socket.socket:
        """A connection, from an address of this machine, with a receive buffer of so many bytes."""
        connection = socket.socket()
        try:
            connection.settimeout(25)
            if receive_bytes:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            connection.bind((source, 0))
            connection.connect(self._address)
        except OSError:
            connection.close()
            raise
        return connection

    def ask(self, data: bytes, half_close: bool = False, more: Callable[[socket.socket], None] | None = None) -> Reply:
        with self.connect() as connection:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            if more:
                threading.Thread(target=_send, args=(more, connection), daemon=True).start()
            return read(connection)

    def stored(self, thread: str) -> list[str]:
        """The texts of a thread's comments."""
        url = f"http://{self._address[0]}"
        found = requests.get(f"{url}/api/comment/list/{thread}?limit=1", timeout=10).status_code
        return [] if found == 404 else replies.comments(url, thread)


class Reply:
    """A reply as bytes; nothing where the connection was closed without one."""

    def __init__(self, data: bytes):
        while data.startswith(b"HTTP/1.1 100 "):
            data = data.partition(b"\r\n\r\n")[2]
        head, _, self.body = data.partition(b"\r\n\r\n")
        self.status = int(head.split()[1]) if head else 0
        self.head = head.decode("latin-1").lower()

    def json(self) -> dict[str, str]:
        found = json.loads(self.body)
        assert isinstance(found, dict)
        return found


def _send(more: Callable[[socket.socket], None], connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        more(connection)


def read(connection: socket.socket) -> Reply:
    data = b""
    while True:
        reply = Reply(data) if b"\r\n\r\n" in data else None
        if reply and (length := re.search(r"content-length: (\d+)", reply.head)) and len(reply.body) >= int(length[1]):
            return reply
        try:
            part = connection.recv(65536)
        except ConnectionResetError:
            part = b""
        if not part:
            return Reply(data)
        data += part


def comment(text: str, thread: str) -> bytes:
    return json.dumps({"email": "alice@example.com", "comment": text, "content_id": thread}).encode()


def whole(body: bytes) -> bytes:
    return POST + b"Content-Length: %d\r\n\r\n" % len(body) + body


# Each kind of random client: what it is after, and whether it sends its whole request.
WHOLE = ("at once", "at once, then closes its side", "in pieces", "at once, and reads late")
PARTS = ("a part, then silence", "a part, then closes its side", "a part, then closes", "a part, then resets")
UNHEARD = ("at once, then closes", "at once, then resets")
RATE, CLIENTS = 120, 320  # posts that begin a second; how many at a time


@dataclass
class Outcome:
    """What became of random posts.

    Attributes:
        statuses: kind of client and status → how many; 0 where the connection was closed without a reply.
        acknowledged: thread → texts of which the reply was a success.
        wrong: replies that no client should get.
    """

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    acknowledged: dict[str, set[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def add(self, kind: str, thread: str, text: str, reply: Reply) -> None:
        self.statuses[kind, reply.status] += 1
        if 200 <= reply.status < 300:
            self.acknowledged.setdefault(thread, set()).add(text)
        if kind in WHOLE:
            problem = replies.fault("POST", reply.status, reply.body)
        else:
            problem = "" if reply.status in (0, 400, 408) or kind in UNHEARD else f"status {reply.status}"
        if problem:
            self.wrong.append(f"{kind}: {problem}: {reply.body[:200]!r}")

    def missing(self, client: Client) -> int:
        """How many comments that were acknowledged are not listed."""
        return sum(len(texts - set(client.stored(thread))) for thread, texts in self.acknowledged.items())


def random_posts(client: Client, count: int, seed: int, prefix: str) -> Outcome:
    """Posts by as many clients, each of which does as the seed has it; threads' names begin with the prefix."""
    generator, outcome, begin = random.Random(seed), Outcome(), time.monotonic()
    kinds = WHOLE + PARTS + UNHEARD
    with ThreadPoolExecutor(CLIENTS) as pool:
        under_way: list[tuple[str, str, str, Future[Reply]]] = []
        for number in range(count):
            # Silence takes longest.
            kind = generator.choices(kinds, [1 if kind == PARTS[0] else 2 for kind in kinds])[0]
            thread, text = f"{prefix}-{number % 20}", f"{seed} {number} {'x' * generator.randrange(2000)}"
            time.sleep(max(0.0, begin + number / RATE - time.monotonic()))
            post = pool.submit(_random_post, client, kind, comment(text, thread), generator.getrandbits(32))
            under_way.append((kind, thread, text, post))
        for kind, thread, text, one in under_way:
            outcome.add(kind, thread, text, one.result())
    return outcome


def _random_post(client: Client, kind: str, body: bytes, seed: int) -> Reply:
    generator = random.Random(seed)
    if generator.random() < 0.3:
        cut = generator.randrange(1, len(body))
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in (body[:cut], body[cut:], b""))
        request = POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    else:
        expect = b"Expect: 100-continue\r\n" if generator.random() < 0.1 else b""
        request = POST + expect + b"Content-Length: %d\r\n\r\n" % len(body) + body
    if kind in PARTS:
        request = request[: generator.randrange(1, len(request))]
    pieces = [request]
    if kind == "in pieces" or (kind in PARTS and generator.random() < 0.5):
        cuts = sorted(generator.sample(range(len(request)), min(len(request), generator.randrange(1, 12))))
        pieces = [request[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    with client.connect() as connection:
        try:
            for number, piece in enumerate(pieces):
                time.sleep(generator.uniform(0, 0.3) if number else 0)
                connection.sendall(piece)
            if kind.endswith("closes its side"):
                connection.shutdown(socket.SHUT_WR)
            elif kind.endswith("resets"):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            # The edge has answered, or closed, before it had everything.
            pass
        if kind.endswith(("closes", "resets")):
            return Reply(b"")
        time.sleep(generator.uniform(0, 2) if kind.endswith("late") else 0)
        return read(connection)


class SilentReaders:
    """Clients that ask for a thread and do not read, over and over, from each of these addresses of this machine."""

    def __init__(self, client: Client, thread: str, addresses: Iterable[str], each: int, seconds: float = 12):
        self._client, self._seconds = client, seconds
        self._request = f"GET /api/comment/list/{thread} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        self._from = [address for address in addresses for _ in range(each)]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.asked = self.refused = 0

    def __enter__(self) -> SilentReaders:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        """Each reader in turn leaves and comes back, so that there are always as many."""
        with contextlib.ExitStack() as held:
            readers = [held.enter_context(contextlib.ExitStack()) for _ in self._from]
            first = True
            while not self._over.is_set():
                for reader, address in zip(readers, self._from, strict=True):
                    reader.close()
                    self.asked += 1
                    try:
                        connection = reader.enter_context(self._client.connect(address, receive_bytes=4096))
                        connection.sendall(self._request)
                    except OSError:
                        self.refused += 1
                    if not first and self._over.wait(self._seconds / len(readers)):
                        return
                first = False
