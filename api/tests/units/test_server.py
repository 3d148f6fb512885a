"""A real Granian on the loopback interface, started like the image, with requests that no client library sends."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urljoin

import pytest
import requests
import servers
from comentarios.serve import KEEP_ALIVE_SECONDS, OPTIONS
from servers import API, status

BODY = {"email": "alice@example.com", "comment": "first post!", "content_id": 1}
CURL = shutil.which("curl")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    folder = tmp_path_factory.mktemp("running")
    with servers.api(f"sqlite:///{folder}/comentarios.db") as server:
        yield server


def talk(port: int, request: bytes) -> bytes:
    """Send bytes that no client would; everything that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        reply = b""
        while chunk := connection.recv(65536):
            reply += chunk
        return reply


def get(port: int, path: str, *headers: str) -> bytes:
    """The path and the headers as they stand here."""
    return talk(port, "\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "Connection: close", "\r\n"]).encode())


@pytest.mark.parametrize("path", ["/api/comment/list/%FF", "/%C3%28", "/api/comment/list/%ED%A0%80"])
def test_path_that_is_not_utf8(running: servers.Server, path: str) -> None:
    reply = get(running.port, path)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["status"] == "BAD-REQUEST"


def test_no_thread_leaves_its_cpu(running: servers.Server) -> None:
    """Of several CPUs, each thread would hand Python's lock to one on another."""
    worker = running.worker()
    allowed = {frozenset(os.sched_getaffinity(int(one))) for one in os.listdir(f"/proc/{worker}/task")}
    assert len(allowed) == 1 and len(allowed.pop()) == 1


def test_log_lines_of_a_second_are_written_together(sqlite_url: str, tmp_path: Path) -> None:
    """Also those of few requests a second, for which one write each would cost as much as the API. None is lost, not
    even the last ones before the server is stopped.
    """
    log = tmp_path / "log"
    with servers.api(sqlite_url, log=log) as server:
        logged: list[int] = []
        begin = time.monotonic()
        for _ in range(10):
            assert get(server.port, "/healthz").startswith(b"HTTP/1.1 200 ")
            time.sleep(0.05)
            logged.append(log.read_text().count("/healthz"))
        # Each second, the timer writes once, and so does the first request after it.
        assert len(set(logged)) <= 3 + 2 * (time.monotonic() - begin), logged
        deadline = time.monotonic() + 5
        while log.read_text().count("/healthz") < 10:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        for _ in range(3):
            get(server.port, "/healthz")
    assert log.read_text().count("/healthz") == 13


def test_nothing_comes_with_304(running: servers.Server) -> None:
    """Another request can follow on the same connection."""
    servers.post(running.url, {**BODY, "content_id": "kept"})
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    connection.request("GET", "/api/comment/list/kept")
    first = connection.getresponse()
    assert first.status == 200 and json.loads(first.read())
    for _ in range(3):
        connection.request("GET", "/api/comment/list/kept", headers={"If-None-Match": first.headers["ETag"]})
        again = connection.getresponse()
        assert again.status == 304 and again.read() == b"" and "Content-Type" not in again.headers
    connection.close()


def by_requests(url: str) -> bytes:
    return requests.get(url, timeout=10).content


def by_urllib(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as reply:
        body: bytes = reply.read()
    return body


def by_http_client(url: str) -> bytes:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("GET", f"/{path}")
    return connection.getresponse().read()


def by_curl(url: str) -> bytes:
    assert CURL
    return subprocess.run([CURL, "--silent", "--fail", url], capture_output=True, check=True).stdout


CLIENTS = [by_requests, by_urllib, by_http_client, *([by_curl] if CURL else [])]


@pytest.mark.parametrize(
    "content_id",
    [
        *("a/b", "/leading", "trailing/", "//", "two//slashes", "//evil.example/x", "http://evil.example/x"),
        *("a?b", "a#b", "a;b=c&d", "a+b", "100%", "%2F", "%2e%2e", "%", "%zz", "%00"),
        *("...", "..a/b..", ".a/.b", "..\\a", "a\\..\\b", "\\", " ", " a ", "'\"<>`|^~", "{a}[b]*"),
        *("\n", "\t\r", "\x01\x1f\x7f", "\x85\u2028\u202e\ufeff", "ñ", "e\u0301", "💬" * 255, "x" * 255),
    ],
)
def test_every_client_reads_back_what_was_stored(running: servers.Server, content_id: str) -> None:
    """By the content_id, percent-encoded with and without its slashes, and by the link to the next page."""
    text = os.urandom(8).hex()
    for number in (1, 2):
        assert servers.post(running.url, {**BODY, "content_id": content_id, "comment": f"{text} {number}"})[0] == 200
    base = f"{running.url}/api/comment/list/"
    first = requests.get(f"{base}{quote(content_id, safe='')}?limit=1", timeout=10)
    link = first.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    for read in CLIENTS:
        for path in (quote(content_id, safe=""), quote(content_id, safe="/")):
            listed = [comment["comment"] for comment in json.loads(read(base + path))]
            assert listed == [f"{text} 1", f"{text} 2"], read
        assert [comment["comment"] for comment in json.loads(read(urljoin(first.url, link)))] == [f"{text} 2"], read


def test_path_that_a_proxy_would_tidy(running: servers.Server) -> None:
    assert servers.post(running.url, {**BODY, "content_id": "a//b///c"})[0] == 200
    for path in ("a//b///c", "a%2F%2Fb%2F%2F%2Fc"):
        assert get(running.port, f"/api/comment/list/{path}").startswith(b"HTTP/1.1 200 ")
    assert get(running.port, "/api/comment/list/x/../a//b///c").startswith(b"HTTP/1.1 404 ")


def test_chunked_body(running: servers.Server) -> None:
    def chunked(size: int) -> tuple[int, str]:
        body = json.dumps({**BODY, "content_id": "chunked"}).encode()
        body += b" " * (size - len(body))
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        pieces = (body[at : at + 1000] for at in range(0, len(body), 1000))
        connection.request("POST", "/api/comment/new", pieces, headers, encode_chunked=True)
        reply = connection.getresponse()
        return reply.status, json.load(reply)["status"]

    assert chunked(500) == (200, "SUCCESS")
    assert chunked(128 * 1024 + 1) == (413, "PAYLOAD-TOO-LARGE")


@pytest.mark.parametrize("size", [128 * 1024 + 1, 300_000, 1_000_000])
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_refused_body_is_read_so_that_the_reply_arrives(running: servers.Server, size: int, kind: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    for _ in range(5):
        connection.request("POST", "/api/comment/new", b" " * size, {"Content-Type": kind})
        reply = connection.getresponse()
        assert reply.status == (413 if kind == "application/json" else 415)
        assert json.load(reply)["message"]
        assert connection.sock is not None


def test_body_that_never_ends_does_no_harm(running: servers.Server) -> None:
    head = b"POST /api/comment/new HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(head + b"Content-Length: 500\r\n\r\n{")
    for length in (b"abc", b"-1", b"99999999999999999999"):
        reply = talk(running.port, head + b"Content-Length: " + length + b"\r\nConnection: close\r\n\r\n{}")
        assert re.match(rb"HTTP/1.1 4\d\d ", reply) and b"<html" not in reply.lower()
    assert status(running.url + "/readyz") == 200


def test_head_has_the_length_and_no_body(running: servers.Server) -> None:
    assert servers.post(running.url, {**BODY, "content_id": "head"})[0] == 200
    for path in ("/api/comment/list/head", "/healthz", "/docs"):
        request = f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
        head, _, body = talk(running.port, request).partition(b"\r\n\r\n")
        length = len(requests.get(running.url + path, timeout=10).content)
        assert head.startswith(b"HTTP/1.1 200 ") and body == b""
        assert f"content-length: {length}\r\n".encode() in head.lower() + b"\r\n"


def test_head_is_bounded(running: servers.Server) -> None:
    assert get(running.port, "/healthz", "X-Long: " + "x" * 16_000).startswith(b"HTTP/1.1 200 ")
    assert get(running.port, "/healthz", "X-Long: " + "x" * 400_000).startswith(b"HTTP/1.1 431 ")
    assert status(running.url + "/healthz") == 200


def test_http2_is_not_spoken(running: servers.Server) -> None:
    """One connection of it could have two hundred replies under way."""
    reply = talk(running.port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    assert reply == b"" or reply.startswith(b"HTTP/1.1 400 ")


def test_idle_connections_outlive_the_edges() -> None:
    """The edge keeps idle connections to a replica for 10 s at most; ours must not be the first to go."""
    assert KEEP_ALIVE_SECONDS >= 2 * 10
    assert OPTIONS["http1_settings"].header_read_timeout == KEEP_ALIVE_SECONDS * 1000


@pytest.mark.parametrize("command", [["comentarios.serve"], ["gunicorn", "--bind", "127.0.0.1:0", "api:app"]])
def test_wrong_setting_is_one_line(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=API,
        env={**os.environ, "DATABASE_URL": "mysql://x"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("comentarios: ")]
    assert len(lines) == 1 and "DATABASE_URL must start with" in lines[0]
    assert "Traceback" not in done.stderr


def test_taken_port_is_one_line() -> None:
    environment = {**os.environ, "HOST": "127.0.0.1"}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment["PORT"] = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "comentarios.serve"]
        done = subprocess.run(command, cwd=API, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr == (
        f"comentarios: cannot listen on 127.0.0.1, port {environment['PORT']}: "
        "Address already in use (os error 98); PORT moves it\n"
    )


def test_health_check_of_the_image(running: servers.Server) -> None:
    command = [sys.executable, "-S", str(API / "comentarios" / "healthcheck.py")]
    for port, expected in ((running.port, 0), (servers.free_port(), 1)):
        done = subprocess.run(command, env={**os.environ, "PORT": str(port)}, capture_output=True, text=True)
        assert done.returncode == expected, done
