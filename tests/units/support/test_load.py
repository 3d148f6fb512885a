"""The load judges replies by their bodies, with a server whose replies the test defines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support import replies
from tests.support.load import THREADS, Load

SUCCESS = b'{"message":"comment created","status":"SUCCESS"}'
LIST = b'[{"comment":"x","email":"load@example.com"}]'
CHUNKED = b"transfer-encoding: chunked\r\n\r\n5\r\n[{},{\r\n2\r\n}]\r\n0\r\n\r\n"


def reply(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def load(get: bytes, post: bytes, requests: int = 20) -> dict[str, Any]:
    """The report of a load to a server that answers alike whatever is not a thread's first comment."""
    return asyncio.run(_load(get, post, requests))


async def _load(get: bytes, post: bytes, requests: int) -> dict[str, Any]:
    served, stop = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
            served += 1
            if served > THREADS + requests:
                stop.set()
            first = served <= THREADS
            writer.write(reply(SUCCESS) if first else post if head.startswith(b"POST") else get)

    async def quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(quietly, "127.0.0.1", 0)
    made = Load(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 2000)
    await made.run(stop)
    made.close()
    server.close()
    return made.report()


def acknowledged(report: dict[str, Any]) -> int:
    """How many comments beside each thread's first."""
    return sum(len(texts) for texts in report["acknowledged"].values()) - THREADS


def test_all_is_well() -> None:
    report = load(reply(LIST), reply(SUCCESS))
    assert report["failed"] == {} and report["reasons"] == {} and report["other_body"] == 0
    assert acknowledged(report) == report["sent"]["POST"] - THREADS > 0


def test_list_in_chunks() -> None:
    assert load(b"HTTP/1.1 200 OK\r\n" + CHUNKED, reply(SUCCESS))["failed"] == {}


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'"SUCCESS"', b'{"status":"UNAVAILABLE"}', b"<html>SUCCESS</html>"]
)
def test_post_with_another_body_is_not_acknowledged(body: bytes) -> None:
    """A proxy may say 200 without a body when a request's sender is gone before a replica answers: Caddy did."""
    report = load(reply(LIST), reply(body))
    posts = report["sent"]["POST"] - THREADS
    assert report["failed"] == {"POST": posts} and report["reasons"] == {"2xx with another body": posts}
    assert report["other_body"] == posts > 0 and acknowledged(report) == 0


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'[{"comment":', b"<html></html>"])
def test_get_with_another_body_has_failed(body: bytes) -> None:
    report = load(reply(body), reply(SUCCESS))
    assert report["failed"] == {"GET": report["sent"]["GET"]} and report["other_body"] == report["sent"]["GET"] > 0


def test_status_comes_before_the_body() -> None:
    report = load(reply(LIST, "502 Bad Gateway"), reply(SUCCESS, "503 Service Unavailable"))
    assert set(report["reasons"]) == {"status 502", "status 503"}
    assert report["other_body"] == acknowledged(report) == 0


@pytest.mark.parametrize(("body", "wrong"), [(SUCCESS, ""), (b"", replies.OTHER_BODY)])
def test_created_is_a_success_too(body: bytes, wrong: str) -> None:
    assert replies.fault("POST", 201, body) == wrong
