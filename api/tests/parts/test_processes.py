"""The server as in production: real processes that are killed, stopped and drained, and get invalid requests."""

import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import servers
from kills import kill_rounds
from servers import API, status

BODY = {"email": "alice@example.com", "comment": "first post!", "content_id": 1}


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


@pytest.fixture(params=[servers.api, servers.api_gunicorn], ids=["granian", "gunicorn"])
def start(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_killed_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    outcome = kill_rounds(f"sqlite:///{tmp_path}/comentarios.db", rounds=4, seconds=0.6)
    assert outcome.acknowledged > 100
    assert outcome.lost == 0
    assert outcome.doubled == 0


def test_sigterm_finishes_what_is_in_flight(tmp_path: Path, start: Callable[..., Any]) -> None:
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


def test_every_line_of_a_burst_is_written_within_a_second_or_two(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with (
        servers.api(f"sqlite:///{tmp_path}/comentarios.db", log=log) as server,
        socket.create_connection(("127.0.0.1", server.port)) as connection,
    ):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        eventually(lambda: log.read_text().count('"path": "/healthz"') == 100, 3)


def test_drain(tmp_path: Path) -> None:
    with servers.api(f"sqlite:///{tmp_path}/comentarios.db", environment={"DRAIN_SECONDS": "2"}) as server:
        started = time.monotonic()
        server.process.terminate()
        eventually(lambda: status(server.url + "/readyz") == 503, 2)
        assert servers.post(server.url, BODY)[0] == 200
        assert status(server.url + "/api/comment/list/1") == 200
        assert server.process.wait(20) == 0
        assert 1.8 < time.monotonic() - started < 6


def test_second_sigterm_skips_the_drain(tmp_path: Path) -> None:
    with servers.api(f"sqlite:///{tmp_path}/comentarios.db", environment={"DRAIN_SECONDS": "600"}) as server:
        server.process.terminate()
        eventually(lambda: status(server.url + "/readyz") == 503, 2)
        server.process.terminate()
        assert server.process.wait(15) == 0


def test_sigterm_that_wakes_nobody(tmp_path: Path) -> None:
    """A signal that another thread took leaves the main one asleep, as one does that comes just before it sleeps."""
    with servers.api(f"sqlite:///{tmp_path}/comentarios.db") as server:
        worker = server.worker()
        threads = [int(thread) for thread in os.listdir(f"/proc/{worker}/task") if int(thread) != worker]
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.tgkill(worker, threads[0], signal.SIGTERM) == 0, os.strerror(ctypes.get_errno())
        server.process.wait(5)


def test_kept_connections_end_while_draining(tmp_path: Path) -> None:
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


def test_two_replicas_see_each_others_comments(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/comentarios.db"
    with servers.api(url) as one, servers.api(url) as other:
        for number in range(20):
            assert servers.post((one, other)[number % 2].url, {**BODY, "comment": str(number)})[0] == 200
        for server in (one, other):
            assert servers.read_thread(server.url, "1") == [str(number) for number in range(20)]


def test_full_disk_is_refused_and_heals(tmp_path: Path) -> None:
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
        assert len(servers.read_thread(url, "big")) == accepted + 1
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return status(url) == 200
    except OSError:
        return False


def test_a_comment_cut_short_is_not_stored(tmp_path: Path) -> None:
    """What came before the connection broke may happen to be a whole comment."""
    text = json.dumps({**BODY, "content_id": "cut"}).encode()
    log = tmp_path / "log"
    with servers.api(f"sqlite:///{tmp_path}/comentarios.db", log=log) as server:
        for kind in (b"application/json", b"application/json; charset=utf-8"):
            head = b"POST /api/comment/new HTTP/1.1\r\nHost: x\r\nContent-Type: " + kind + b"\r\n"
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(head + b"Content-Length: %d\r\n\r\n" % (len(text) + 10) + text)
                time.sleep(0.3)
        eventually(lambda: log.read_text().count('"/api/comment/new"') == 2)
        assert status(server.url + "/api/comment/list/cut") == 404


def test_the_challenge_starts_it(tmp_path: Path) -> None:
    """`cd api && gunicorn --log-level debug api:app`, on another port and another database."""
    port = servers.free_port()
    command = ["gunicorn", "--log-level", "debug", "--bind", f"127.0.0.1:{port}", "api:app"]
    environment = {"DATABASE_URL": f"sqlite:///{tmp_path}/comentarios.db"}
    with servers.Server(command, port, environment, ready="/readyz") as server:
        assert servers.post(server.url, BODY)[0] == 200
        assert server.stop() == 0
