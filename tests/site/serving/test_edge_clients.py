"""Slow, interrupted, large and forged requests: each 200 is a comment that can be read back."""

from __future__ import annotations

import contextlib
import json
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.clients import POST, Client, comment, read, whole
from tests.support.site import Site


@pytest.fixture
def client(up: Site) -> Client:
    return Client(up.host.address)


@pytest.fixture
def thread() -> str:
    return f"clients-{uuid.uuid4().hex[:10]}"


def _dribble(connection: socket.socket) -> None:
    for _ in range(60):
        connection.sendall(b"5\r\n     \r\n")
        time.sleep(0.5)


UNFINISHED: dict[str, tuple[bytes, bool, Callable[[socket.socket], None] | None]] = {
    "one byte, then silence": (POST + b"Content-Length: 500\r\n\r\n{", False, None),
    "no byte": (POST + b"Content-Length: 500\r\n\r\n", False, None),
    "a continuation that never comes": (POST + b"Expect: 100-continue\r\nContent-Length: 500\r\n\r\n", False, None),
    "chunks without end": (POST + b"Transfer-Encoding: chunked\r\n\r\n", False, _dribble),
    "a part, then the end": (POST + b"Content-Length: 500\r\n\r\n{", True, None),
    "half a header": (POST + b"X-Slow: ", False, None),
}


def test_body_that_does_not_come_is_no_success(client: Client) -> None:
    """A 400 or 408, or a closed door; within half a minute; all at a time, six of each."""
    cases = [case for case in UNFINISHED for _ in range(6)]
    with ThreadPoolExecutor(len(cases)) as pool:
        replies = list(pool.map(lambda case: client.ask(*UNFINISHED[case]), cases))
    wrong = [(case, one.status) for case, one in zip(cases, replies, strict=True) if one.status not in (0, 400, 408)]
    assert not wrong


def test_sender_that_closes_its_side_gets_its_answer(client: Client, thread: str) -> None:
    for number in range(30):
        reply = client.ask(whole(comment(f"number {number}", thread)), half_close=True)
        assert reply.status == 200 and reply.json()["status"] == "SUCCESS", number
    assert client.stored(thread) == [f"number {number}" for number in range(30)]
    for _ in range(20):
        reply = client.ask(f"GET /api/comment/list/{thread} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), half_close=True)
        assert reply.status == 200 and len(json.loads(reply.body)) == 30


def _large(connection: socket.socket) -> None:
    for _ in range(80):
        connection.sendall(b"a" * 65536)


def _large_chunks(connection: socket.socket) -> None:
    for _ in range(80):
        connection.sendall(b"10000\r\n" + b"a" * 65536 + b"\r\n")


@pytest.mark.parametrize(
    ("head", "more"),
    [(b"Content-Length: 5242880\r\n\r\n", _large), (b"Transfer-Encoding: chunked\r\n\r\n", _large_chunks)],
    ids=["of known length", "in chunks"],
)
def test_large_body_is_always_told_so(client: Client, head: bytes, more: Callable[[socket.socket], None]) -> None:
    for _ in range(6):
        reply = client.ask(POST + head, more=more)
        assert reply.status == 413 and reply.json()["status"] == "PAYLOAD-TOO-LARGE"
        assert reply.json()["request_id"] in reply.head


def test_largest_body_with_a_large_header_reaches_the_api(client: Client, thread: str) -> None:
    body = comment("x" * 10_000, thread)
    padded = body + b" " * (131_072 - len(body))
    reply = client.ask(POST + b"X-Large: " + b"h" * 15_000 + b"\r\nContent-Length: 131072\r\n\r\n" + padded)
    assert reply.status == 200 and client.stored(thread) == ["x" * 10_000]


@pytest.fixture(scope="module", autouse=True)
def kept(up: Site) -> Iterator[Future[None]]:
    """The test of kept connections, which waits most of its time, beside the others of this file."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(_posts_half_a_minute_apart, Client(up.host.address))


def _posts_half_a_minute_apart(client: Client) -> None:
    """Longer apart than the API keeps its own connections."""
    thread = f"clients-{uuid.uuid4().hex[:10]}"
    with contextlib.ExitStack() as held:
        connections = [held.enter_context(client.connect()) for _ in range(100)]
        for turn in range(2):
            if turn:
                time.sleep(31)
            for number, connection in enumerate(connections):
                connection.sendall(whole(comment(f"{turn} {number}", thread)))
            assert {read(connection).status for connection in connections} == {200}
    assert len(client.stored(thread)) == 200


def test_no_http2_without_tls(client: Client) -> None:
    reply = client.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    assert reply.status in (0, 400)
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    assert client.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n").status == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 200),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: " + b"h" * 30_000 + b"\r\n\r\n", 431),
        (b"GET /api/comment/list/100% HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /%6detrics HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET //metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET http://x/metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ],
)
def test_odd_requests_are_answered_in_json(client: Client, request_: bytes, status: int) -> None:
    reply = client.ask(request_)
    assert reply.status == status and reply.json()["status"] and "\nx-request-id: " in reply.head


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"Transfer-Encoding: xchunked\r\n\r\nabc",
        POST + b"Broken header: 1\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nabc",
        "GET /api/comment/list/opinião HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        b"no HTTP at all\r\n\r\n",
    ],
    ids=["unknown encoding", "name with a space", "two lengths", "not ASCII", "no HTTP"],
)
def test_what_cannot_be_parsed_is_refused(client: Client, request_: bytes) -> None:
    """In HAProxy's own words; nobody can answer later on that connection."""
    reply = client.ask(request_)
    assert reply.status == 400 and "\nconnection: close" in reply.head


def test_id_of_the_client_comes_back(client: Client) -> None:
    reply = client.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-ID: checkout-42\r\n\r\n")
    assert "\nx-request-id: checkout-42" in reply.head
    reply = client.ask(b'GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-ID: "forged"\r\n\r\n')
    assert "forged" not in reply.head and "\nx-request-id: " in reply.head


def test_failure_of_the_edge_names_its_cause_in_the_log(up: Site, client: Client, kept: Future[None]) -> None:
    """While no replica answers: an id to ask with, and one short line about it, however large the header was."""
    # Its requests would fail, too.
    kept.exception()
    replicas = up.ssh("docker ps --quiet --filter label=com.docker.compose.service=api").stdout.split()
    up.ssh(f"docker pause {' '.join(replicas)}")
    try:
        reply = client.ask(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Large: " + b"h" * 14_000 + b"\r\n\r\n")
    finally:
        up.ssh(f"docker unpause {' '.join(replicas)}")
    assert reply.status in (503, 504) and reply.json()["status"] == "UNAVAILABLE"
    assert "\nretry-after: 5" in reply.head
    line = up.ssh(f"docker logs comentarios-edge-1 2>&1 | grep {reply.json()['request_id']}").stdout
    logged = json.loads(line)
    assert logged["level"] == "error" and logged["status"] == reply.status and logged["cause"][0] in "sS"
    assert len(line) < 1000


def test_posts_half_a_minute_apart_on_kept_connections(kept: Future[None]) -> None:
    kept.result()
