"""The server as it runs in production: real processes, killed, stopped, drained, and wrongly asked."""

import ctypes
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
import servers
from kills import kill_rounds
from servers import API

BODY = {"email": "alice@example.com", "comment": "first post!", "content_id": 1}


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def eventually(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def talk(port: int, request: bytes) -> bytes:
    """Send bytes that no client would; everything that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        reply = b""
        while chunk := connection.recv(65536):
            reply += chunk
        return reply


@pytest.fixture(params=[servers.api, servers.api_gunicorn], ids=["granian", "gunicorn"])
def start(request):
    return request.param


def test_killed_under_load_loses_and_doubles_nothing(tmp_path):
    outcome = kill_rounds(f"sqlite:///{tmp_path}/comentarios.db", rounds=4, seconds=0.6)
    assert outcome.acknowledged > 100
    assert outcome.lost == 0
    assert outcome.doubled == 0


def test_sigterm_finishes_what_is_in_flight(tmp_path, start):
    """Requests that wait for the database's lock when SIGTERM comes are answered before the exit."""
    database = tmp_path / "comentarios.db"
    with start(f"sqlite:///{database}", environment={"LOG_LEVEL": "warning"}) as server:
        import sqlite3

        blocker = sqlite3.connect(database, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        replies = []
        threads = [
            threading.Thread(target=lambda: replies.append(servers.post(server.url, BODY, 20))) for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        server.process.terminate()
        time.sleep(1.5)  # Longer than the worker's main thread sleeps at a time.
        assert replies == []
        blocker.execute("ROLLBACK")
        blocker.close()
        for thread in threads:
            thread.join(20)
        assert [code for code, _ in replies] == [200] * 5
        assert server.process.wait(20) == 0


def test_drain(tmp_path, start):
    environment = {"DRAIN_SECONDS": "2"}
    with start(f"sqlite:///{tmp_path}/comentarios.db", environment=environment) as server:
        started = time.monotonic()
        server.process.terminate() if start is servers.api else os.kill(server.worker(), signal.SIGTERM)
        eventually(lambda: status(server.url + "/readyz") == 503, 2)
        assert servers.post(server.url, BODY)[0] == 200
        assert status(server.url + "/api/comment/list/1") == 200
        if start is servers.api:
            assert server.process.wait(20) == 0
            assert 1.8 < time.monotonic() - started < 6


def test_second_sigterm_skips_the_drain(tmp_path):
    with servers.api(f"sqlite:///{tmp_path}/comentarios.db", environment={"DRAIN_SECONDS": "600"}) as server:
        server.process.terminate()
        eventually(lambda: status(server.url + "/readyz") == 503, 2)
        server.process.terminate()
        assert server.process.wait(15) == 0


def test_sigterm_that_wakes_nobody(tmp_path):
    """A signal that another thread took leaves the main one asleep, as one does that comes just before it sleeps."""
    with servers.api(f"sqlite:///{tmp_path}/comentarios.db") as server:
        worker = server.worker()
        threads = [int(thread) for thread in os.listdir(f"/proc/{worker}/task") if int(thread) != worker]
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.tgkill(worker, threads[0], signal.SIGTERM) == 0, os.strerror(ctypes.get_errno())
        server.process.wait(5)


def test_kept_connections_end_while_draining(tmp_path):
    with servers.api(f"sqlite:///{tmp_path}/comentarios.db", environment={"DRAIN_SECONDS": "3"}) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() and connection.sock is not None
        server.process.terminate()
        eventually(lambda: status(server.url + "/readyz") == 503, 2)
        connection.request("GET", "/healthz")
        reply = connection.getresponse()
        reply.read()
        assert reply.headers["Connection"] == "close" and connection.sock is None


def test_two_replicas_see_each_others_comments(tmp_path):
    url = f"sqlite:///{tmp_path}/comentarios.db"
    with servers.api(url) as one, servers.api(url) as other:
        for number in range(20):
            assert servers.post((one, other)[number % 2].url, {**BODY, "comment": str(number)})[0] == 200
        for server in (one, other):
            with urllib.request.urlopen(server.url + "/api/comment/list/1") as reply:
                assert [comment["comment"] for comment in json.load(reply)] == [str(n) for n in range(20)]


def test_full_disk_is_refused_and_heals(tmp_path):
    """A real one: a file system of 1 MiB in a mount namespace of the server's own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f"mount -t tmpfs -o size=1m none {disk} && touch {disk}/ballast && exec {sys.executable} serve.py"
    (tmp_path / "serve.py").write_text(
        f"import os, sys; sys.path.insert(0, {str(API)!r})\n"
        "import threading, time\n"
        f"disk = {str(disk)!r}\n"
        "def ballast():\n"
        "    while not os.path.exists('fill'): time.sleep(0.05)\n"
        "    with open(disk + '/ballast', 'wb', buffering=0) as file:\n"
        "        try:\n"
        "            while True: file.write(b'x' * 4096)\n"
        "        except OSError: pass\n"
        "    open('filled', 'w').close()\n"
        "    while not os.path.exists('free'): time.sleep(0.05)\n"
        "    os.truncate(disk + '/ballast', 0)\n"
        "threading.Thread(target=ballast, daemon=True).start()\n"
        "from comentarios.serve import main\n"
        "main()\n"
    )
    port = servers.free_port()
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    environment = {
        **os.environ,
        "DATABASE_URL": f"sqlite:///{disk}/comentarios.db",
        "HOST": "127.0.0.1",
        "PORT": str(port),
    }
    process = subprocess.Popen([*namespace, "sh", "-c", script], cwd=tmp_path, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(url + "/readyz"), 15)
        assert servers.post(url, {**BODY, "comment": "before"})[0] == 200
        (tmp_path / "fill").touch()
        eventually((tmp_path / "filled").exists)
        codes, accepted = [], 0
        for _ in range(30):
            code, reply = servers.post(url, {**BODY, "content_id": "big", "comment": "x" * 9_000})
            codes.append(code)
            accepted += code == 200
            assert code in (200, 503, 507) and reply["status"] in ("SUCCESS", "UNAVAILABLE", "INSUFFICIENT-STORAGE")
        assert codes[-1] == 507 and status(url + "/readyz") in (503, 507)
        assert status(url + "/api/comment/list/1") == 200
        (tmp_path / "free").touch()
        eventually(lambda: status(url + "/readyz") == 200)
        assert servers.post(url, {**BODY, "content_id": "big"})[0] == 200
        with urllib.request.urlopen(url + "/api/comment/list/big") as reply:
            assert len(json.load(reply)) == accepted + 1
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return status(url) == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("running")
    with servers.api(f"sqlite:///{folder}/comentarios.db") as server:
        yield server


@pytest.mark.parametrize("path", ["/api/comment/list/%FF", "/%C3%28", "/api/comment/list/%ED%A0%80"])
def test_path_that_is_not_utf8(running, path):
    reply = talk(running.port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["status"] == "BAD-REQUEST"


def test_path_that_a_proxy_would_tidy(running):
    assert servers.post(running.url, {**BODY, "content_id": "a/../b//c"})[0] == 200
    for path in (b"a/../b//c", b"a%2F..%2Fb%2F%2Fc"):
        head = b"GET /api/comment/list/" + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert talk(running.port, head).startswith(b"HTTP/1.1 200 ")


def test_chunked_body(running):
    def chunked(size):
        body = json.dumps({**BODY, "content_id": "chunked"}).encode()
        body += b" " * (size - len(body))
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
        headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
        pieces = (body[at : at + 1000] for at in range(0, len(body), 1000))
        connection.request("POST", "/api/comment/new", pieces, headers, encode_chunked=True)
        reply = connection.getresponse()
        return reply.status, json.load(reply)["status"]

    assert chunked(500) == (200, "SUCCESS")
    assert chunked(65_537) == (413, "PAYLOAD-TOO-LARGE")


@pytest.mark.parametrize("size", [65_537, 300_000, 1_000_000])
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_refused_body_is_read_so_that_the_reply_arrives(running, size, kind):
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    for _ in range(5):
        connection.request("POST", "/api/comment/new", b" " * size, {"Content-Type": kind})
        reply = connection.getresponse()
        assert reply.status == (413 if kind == "application/json" else 415)
        assert json.load(reply)["message"]
        assert connection.sock is not None


def test_a_comment_cut_short_is_not_stored(running):
    """What came before the connection broke may happen to be a whole comment."""
    text = json.dumps({**BODY, "content_id": "cut"}).encode()
    for kind in (b"application/json", b"application/json; charset=utf-8"):
        head = b"POST /api/comment/new HTTP/1.1\r\nHost: x\r\nContent-Type: " + kind + b"\r\n"
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % (len(text) + 10) + text)
            time.sleep(0.3)
    time.sleep(0.5)
    assert status(running.url + "/api/comment/list/cut") == 404


def test_body_that_never_ends_does_no_harm(running):
    head = b"POST /api/comment/new HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", running.port)) as connection:
        connection.sendall(head + b"Content-Length: 500\r\n\r\n{")
    for length in (b"abc", b"-1", b"99999999999999999999"):
        reply = talk(running.port, head + b"Content-Length: " + length + b"\r\nConnection: close\r\n\r\n{}")
        assert re.match(rb"HTTP/1.1 4\d\d ", reply) and b"<html" not in reply.lower()
    assert status(running.url + "/readyz") == 200


def test_a_long_thread_is_sent_while_it_is_read(running):
    for number in range(250):
        assert servers.post(running.url, {**BODY, "content_id": "long", "comment": str(number)})[0] == 200
    with urllib.request.urlopen(running.url + "/api/comment/list/long") as reply:
        assert [one["comment"] for one in json.load(reply)] == [str(number) for number in range(250)]


@pytest.mark.parametrize("command", [["comentarios.serve"], ["gunicorn", "--bind", "127.0.0.1:0", "api:app"]])
def test_wrong_setting_is_one_line(command):
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


def test_taken_port_is_one_line():
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


def test_the_challenge_starts_it(tmp_path):
    """`cd api && gunicorn --log-level debug api:app`, on another port and another database."""
    port = servers.free_port()
    command = ["gunicorn", "--log-level", "debug", "--bind", f"127.0.0.1:{port}", "api:app"]
    environment = {"DATABASE_URL": f"sqlite:///{tmp_path}/comentarios.db"}
    with servers.Server(command, port, environment, ready="/readyz") as server:
        assert servers.post(server.url, BODY)[0] == 200
        assert server.stop() == 0


def test_health_check_of_the_image(running, tmp_path):
    command = [sys.executable, "-S", str(API / "comentarios" / "healthcheck.py")]
    for port, expected in ((running.port, 0), (servers.free_port(), 1)):
        done = subprocess.run(command, env={**os.environ, "PORT": str(port)}, capture_output=True, text=True)
        assert done.returncode == expected, done
