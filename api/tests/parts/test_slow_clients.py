"""Clients that do not read, and idle connections: a real Granian, and its memory."""

import http.client
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from comentarios.config import Settings
from comentarios.serve import MAX_CONNECTIONS
from comentarios.storage import NewComment, open_storage
from servers import API

MIB = 2**20
# A replica's limit on the host is 160 MiB. The edge lets 64 requests to one at a time.
ADMITTED, MOST = 64, 120 * MIB


@pytest.fixture(params=["x", "💬", "\1"], ids=["letters", "emoji", "escapes"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[servers.Server]:
    """With a thread of 1,500 of the longest comments."""
    url = f"sqlite:///{tmp_path}/comentarios.db"
    storage = open_storage(Settings(database_url=url))
    storage.ensure_migrated()
    comment = NewComment("long", "alice@example.com", request.param * 10_000, 0)
    for _ in range(15):
        storage.engine.write([comment] * 100)
    storage.close()
    with servers.api(url, environment={"LOG_LEVEL": "warning"}) as running:
        yield running


def ask_and_do_not_read(port: int, count: int, query: str = "") -> list[socket.socket]:
    readers = []
    for _ in range(count):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", port))
        reader.sendall(b"GET /api/comment/list/long%s HTTP/1.1\r\nHost: x\r\n\r\n" % query.encode())
        readers.append(reader)
    return readers


def peak_bytes(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {process} has no peak")


def ready_after(server: servers.Server) -> float:
    """Seconds until /readyz answers 200."""
    started = time.monotonic()
    servers.wait_until_ready(server.url, "/readyz", server.process)
    return time.monotonic() - started


@pytest.mark.parametrize("query", ["", "?limit=1000"])
def test_as_many_as_the_edge_admits(server: servers.Server, query: str) -> None:
    """What the kernel holds of the replies counts for the container, too: all of them are added, as if none were."""
    readers = ask_and_do_not_read(server.port, ADMITTED, query)
    seconds = [ready_after(server) for _ in range(20)]
    kernel = ADMITTED * Settings.max_reply_bytes
    assert peak_bytes(server.worker()) + kernel < MOST
    assert statistics.median(seconds) < 0.25 and max(seconds) < 5, seconds
    for reader in readers:
        reader.close()


def test_five_hundred_without_the_edge(server: servers.Server) -> None:
    """No more are accepted than memory is for. The others wait, probes too, until some have left."""
    readers = ask_and_do_not_read(server.port, 500)
    time.sleep(2)
    assert peak_bytes(server.worker()) < MOST
    with pytest.raises(TimeoutError):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=1)
        connection.request("GET", "/healthz")
        connection.getresponse()
    assert len(readers) > MAX_CONNECTIONS
    for reader in readers:
        reader.close()
    assert ready_after(server) < 5


def test_idle_connections_and_half_heads_are_closed_in_time(tmp_path: Path) -> None:
    """By Granian, after what serve.py says: here one second."""
    (tmp_path / "short.py").write_text(
        f"import sys; sys.path.insert(0, {str(API)!r})\n"
        "from comentarios import serve\n"
        "serve.OPTIONS['http1_settings'].header_read_timeout = 1000\n"
        "serve.main()\n"
    )
    port = servers.free_port()
    environment = {"DATABASE_URL": f"sqlite:///{tmp_path}/comentarios.db", "PORT": str(port), "HOST": "127.0.0.1"}
    with servers.Server(["short"], port, environment, folder=tmp_path, ready="/readyz"):
        for sent in (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                started = time.monotonic()
                connection.sendall(sent)
                while connection.recv(65536):
                    pass
            assert 0.8 < time.monotonic() - started < 3
