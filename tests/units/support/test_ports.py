"""Another process takes a free port first."""

from __future__ import annotations

import socket

import pytest

from tests.support import ports


def test_another_port_when_one_is_taken() -> None:
    tried: list[int] = []

    def start(free: list[int]) -> socket.socket:
        tried.append(free[0])
        if len(tried) == 1:
            with socket.create_server(("127.0.0.1", free[0])), pytest.raises(OSError):
                socket.create_server(("127.0.0.1", free[0]))
            raise ports.Ended("Address already in use")
        return socket.create_server(("127.0.0.1", free[0]))

    with ports.on_free_ports(start) as server:
        assert server.getsockname()[1] == tried[1]


def test_server_that_never_starts() -> None:
    tried = []

    def start(free: list[int]) -> None:
        tried.append(free)
        raise ports.Ended("no such option")

    with pytest.raises(ports.Ended, match="no such option"):
        ports.on_free_ports(start)
    assert len(tried) == ports.TRIES


def test_ports_differ() -> None:
    assert len(set(ports.on_free_ports(lambda free: free, 3))) == 3
