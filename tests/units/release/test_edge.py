"""Requests to HAProxy and the replicas: every answer has a limit in time and size."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from comentarios_release import edge as module
from comentarios_release.edge import Edge, get
from comentarios_release.engine import Container, Engine
from comentarios_release.settings import ReleaseError, Settings

Behaviour = Callable[[socket.socket, threading.Event], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"


def _without_end(connection: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        connection.sendall(b"x" * 65536)


def _dribble(connection: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.01):
        connection.sendall(b"x")


@pytest.fixture
def served() -> Iterator[Callable[[socket.socket, Behaviour, bytes], None]]:
    """Has a listening socket's first client served in this way, after these bytes."""
    over, threads = threading.Event(), []

    def serve(listener: socket.socket, behaviour: Behaviour, first: bytes) -> None:
        def run() -> None:
            try:
                with listener, listener.accept()[0] as connection:
                    connection.recv(65536)
                    connection.sendall(first)
                    behaviour(connection, over)
            except OSError:
                pass  # The client has left.

        listener.listen()
        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield serve
    over.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [(_without_end, "more than 1 MiB came"), (_dribble, "the end did not come within 0.1 s")],
    ids=["without end", "a byte at a time"],
)
class TestBound:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "ANSWER_BYTES", 2**20)
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.1)

    def test_haproxy(self, tmp_path: Path, served: Callable[..., None], behaviour: Behaviour, says: str) -> None:
        settings = Settings(stack_dir=tmp_path, edge_dir=tmp_path)
        (tmp_path / "run").mkdir()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(settings.edge_socket))
        served(listener, behaviour, b"")
        with pytest.raises(ReleaseError, match=f"does not answer on .*: {says}"):
            Edge(settings, Engine(settings))._tell("@1 show stat")

    def test_replica(self, served: Callable[..., None], behaviour: Behaviour, says: str) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        served(listener, behaviour, HEAD)
        assert get(f"http://127.0.0.1:{port}/metrics", timeout=0.1, limit=None) == (0, says)


@pytest.fixture
def edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edge:
    """One whose container runs."""
    settings = Settings(stack_dir=tmp_path, edge_dir=tmp_path)
    container = Container("1", "edge", "", "edge:1", "running", 0, 0, "")
    monkeypatch.setattr(Engine, "containers", lambda *_: [container])
    return Edge(settings, Engine(settings))


def test_edge_without_a_socket_is_not_switched(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs, so requests would stay with the release that it has read at its start."""
    monkeypatch.setattr(module, "START_SECONDS", 0)
    with pytest.raises(ReleaseError, match=r"the edge does not answer on .*master.sock: No such file"):
        edge.switch("two")


def test_two_reloads_at_once(edge: Edge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A release's, and that of a new certificate."""
    state = tmp_path / "haproxy" / "servers.state"

    def tell(_: Edge, command: str) -> str:
        if command == "reload":
            state.unlink()
        return "Success=1"

    monkeypatch.setattr(module, "START_SECONDS", 0)
    monkeypatch.setattr(Edge, "_tell", tell)
    edge.reload()


@pytest.mark.parametrize(
    ("domain", "reply", "good"),
    [
        ("", (200, '{"status":"SUCCESS","message":"ready"}'), True),
        # An edge that answers in the API's place.
        ("", (200, ""), False),
        ("", (200, "<html>200 OK</html>"), False),
        ("", (301, ""), False),
        ("comments.example.com", (301, ""), True),
        ("comments.example.com", (503, '{"status":"UNAVAILABLE"}'), False),
        ("", (0, "Connection refused"), False),
    ],
)
def test_readiness_is_the_apis_own_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, domain: str, reply: tuple[int, str], good: bool
) -> None:
    settings = Settings(stack_dir=tmp_path, domain=domain)
    monkeypatch.setattr(module, "get", lambda _: reply)
    assert (Edge(settings, Engine(settings)).answers() == "") is good
