"""Harmful clients: all others are served meanwhile, and get no 5xx."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import socket
import string
import time

import requests

SLOW = 5000 if os.environ.get("PROVE") == "yes" else 700
BODIES = 10_000 if os.environ.get("PROVE") == "yes" else 300


def _raw(releases, data: bytes, timeout: float = 10) -> bytes:
    """What comes back for bytes as they are."""
    with socket.create_connection((releases.site.host.address, 80), timeout=timeout) as connection:
        connection.sendall(data)
        reply = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while chunk := connection.recv(65536):
                reply += chunk
        return reply


def test_response_headers(releases):
    headers = requests.get(f"{releases.edge}/docs", timeout=10).headers
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer" and "default-src" in headers["Content-Security-Policy"]
    assert "Server" not in headers and "Via" not in headers


def test_slow_connections(releases):
    """Held open with half a request each: the edge closes them, and meanwhile everybody else is served."""
    held: list[socket.socket] = []
    try:
        for _ in range(SLOW):
            with contextlib.suppress(OSError):
                connection = socket.create_connection((releases.site.host.address, 80), timeout=0.5)
                connection.sendall(b"POST /api/comment/new HTTP/1.1\r\nHost: x\r\nX-Slow: ")
                held.append(connection)
        began = time.monotonic()
        # From the host itself: another client, whom the first one's connections do not concern.
        for _ in range(20):
            served = releases.run("curl --silent --fail --max-time 5 http://127.0.0.1/readyz")
            assert served.returncode == 0, served.stderr
        closed = 0
        for connection in held:
            connection.settimeout(max(0.1, 20 - (time.monotonic() - began)))
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                while connection.recv(4096):
                    pass
                closed += 1
        assert closed >= len(held) * 0.99, (closed, len(held))
    finally:
        for connection in held:
            connection.close()


def test_slow_bodies_hold_no_thread(releases):
    """More senders of half a body than the API has threads: the edge waits for the rest, not the API."""
    head = (
        b"POST /api/comment/new HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
    )
    held = []
    try:
        for _ in range(100):
            connection = socket.create_connection((releases.site.host.address, 80), timeout=5)
            connection.sendall(head)
            held.append(connection)
        time.sleep(1)
        slowest = 0.0
        for _ in range(20):
            begin = time.monotonic()
            assert requests.get(f"{releases.edge}/readyz", timeout=5).status_code == 200
            slowest = max(slowest, time.monotonic() - begin)
        assert slowest < 2
    finally:
        for connection in held:
            connection.close()


def test_client_that_breaks_off(releases):
    """In the middle of its request, and while it waits for the reply."""
    body = b'{"email":"a@example.com","comment":"gone","content_id":"gone"}'
    whole = (
        b"POST /api/comment/new HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
    )
    request = whole % (len(body), body)
    for length in (1, 20, len(request) - 10, len(request)):
        for _ in range(10):
            with socket.create_connection((releases.site.host.address, 80), timeout=5) as connection:
                connection.sendall(request[:length])
    assert requests.get(f"{releases.edge}/readyz", timeout=5).status_code == 200


def test_bodies_too_large_malformed_and_random(releases):
    """Each is a 4xx in JSON, or a comment that was fine; none is a 5xx."""
    generator, answers = random.Random(7), {}
    with requests.Session() as session:
        for number in range(BODIES):
            body, kind = _body(generator, number), generator.choice(["application/json", "text/plain", ""])
            reply = session.post(
                f"{releases.edge}/api/comment/new", data=body, headers={"Content-Type": kind}, timeout=10
            )
            answers[reply.status_code] = answers.get(reply.status_code, 0) + 1
            assert reply.headers["Content-Type"].startswith("application/json"), (reply.status_code, body[:80])
            assert reply.json()["status"], body[:80]
    assert set(answers) <= {200, 400, 413, 415}, answers
    assert {400, 413, 415} <= set(answers), answers


def _body(generator: random.Random, number: int) -> bytes:
    kind = number % 5
    if kind == 0:
        return b"x" * generator.randint(65_537, 200_000)
    if kind == 1:
        return generator.randbytes(generator.randint(0, 2000))
    if kind == 2:
        return b'{"email":"a@example.com","comment":"' + generator.randbytes(20) + b'","content_id":1}'
    if kind == 3:
        return b"[" * generator.randint(1, 5000)
    text = "".join(generator.choices(string.printable, k=generator.randint(0, 50)))
    return f'{{"email": "{text}", "comment": null, "content_id": [1]}}'.encode()


def test_malformed_requests(releases):
    """What is no HTTP gets a 4xx or a closed door."""
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /api/comment/new HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: " + b"b" * 40_000 + b"\r\n\r\n",
    ):
        reply = _raw(releases, data, timeout=3)
        assert not reply or reply.split()[1].startswith(b"4"), (data[:40], reply[:100])
    assert requests.get(f"{releases.edge}/readyz", timeout=5).status_code == 200


FLOOD = """
import http.client, json, time
connection, codes, end = http.client.HTTPConnection("127.0.0.1", 80), [], time.monotonic() + 9
while time.monotonic() < end and 429 not in codes:
    number = len(codes)
    forged = {name: f"192.0.2.{number % 250}" for name in ("X_Real_IP", "X-Real-IP", "X-Forwarded-For", "Forwarded")}
    connection.request("POST", "/api/comment/new", "{", {"Content-Type": "application/json"} | forged)
    reply = connection.getresponse()
    body = json.loads(reply.read())
    codes.append(reply.status)
print(json.dumps([codes.count(400), codes[-1], body, reply.headers["Retry-After"]]))
"""


def test_client_cannot_write_without_end_under_other_names(releases):
    """2,500 POSTs in ten seconds are refused from then on, whatever address a client says it has; others are served."""
    done = releases.run(f"python3 -c {shlex.quote(FLOOD)}")
    assert done.returncode == 0, done.stderr
    answered, last, body, retry = json.loads(done.stdout)
    assert last == 429 and body["status"] == "TOO-MANY-REQUESTS" and retry == "10", done.stdout
    assert 2400 <= answered <= 2600, done.stdout
    comment = {"email": "a@example.com", "comment": "another's", "content_id": "flood"}
    assert requests.post(f"{releases.edge}/api/comment/new", json=comment, timeout=5).json()["status"] == "SUCCESS"
