"""The port scan on loopback."""

from __future__ import annotations

import socket

import pytest

from tests.support import scan


def test_open_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "WAIT", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as served, socket.socket() as bound:
        # Bound and not listening: nobody else takes it, and it refuses.
        bound.bind(("127.0.0.1", 0))
        there, closed = served.getsockname()[1], bound.getsockname()[1]
        assert scan.knock("127.0.0.1", [there, closed]) == {there: scan.OPEN, closed: scan.REFUSED}


def test_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its queue full, a server's kernel answers nobody."""
    monkeypatch.setattr(scan, "WAIT", 0.05)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            assert scan.knock("127.0.0.1", [port]) == {port: scan.SILENT}
