"""The sandbox's process: there is only one, and it works only after a change."""

from __future__ import annotations

import ipaddress
import os
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.config import Config
from common.errors import CommandError
from sandbox import elb, hosts, images, registry, server
from sandbox.machine import Deleted
from sandbox.server import Follower


class Parts:
    """The parts that follow the APIs, and how often each has worked."""

    def __init__(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        self.worked: list[str] = []
        self.states, self.tags, self.problem = "1 running", {"api": ["v1"]}, ""
        self.chosen = {"host": "image"}
        monkeypatch.setattr(images, "chosen", lambda _: self.chosen)
        monkeypatch.setattr(hosts, "states", lambda _: self.states)
        monkeypatch.setattr(registry, "tags", lambda _: dict(self.tags))
        monkeypatch.setattr(hosts, "sync", lambda *_: self._work("hosts"))
        monkeypatch.setattr(registry, "sync", lambda *_: self._work("ecr"))
        monkeypatch.setattr(elb, "sync", lambda *_: self._work("elb"))
        apis = SimpleNamespace(machine=SimpleNamespace(deleted=Deleted, certificate=str))
        self._follower = Follower(config, cast(Any, apis))

    def _work(self, part: str) -> list[str]:
        if self.problem == part:
            raise OSError(part)
        self.worked.append(part)
        return [part]

    def follow(self, announced: bool = False) -> list[str]:
        """What works in this round."""
        self.worked.clear()
        list(self._follower.follow(announced))
        return list(self.worked)


ALL = ["hosts", "ecr", "elb"]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(state=tmp_path)


@pytest.fixture
def parts(config: Config, monkeypatch: pytest.MonkeyPatch) -> Parts:
    made = Parts(config, monkeypatch)
    assert made.follow() == ALL
    assert made.follow() == []
    return made


def test_a_request_is_followed(parts: Parts) -> None:
    assert parts.follow(announced=True) == ALL
    assert parts.follow() == []


def test_a_host_that_ends_by_itself(parts: Parts) -> None:
    parts.states = "1 exited"
    assert parts.follow() == ALL
    parts.states = "1 running"
    assert parts.follow() == ALL
    assert parts.follow() == []


def test_an_image_that_was_pushed(parts: Parts) -> None:
    parts.tags = {"api": ["v1", "v2"]}
    assert parts.follow() == ALL
    assert parts.follow() == []


def test_the_hosts_image_is_built(parts: Parts) -> None:
    parts.chosen = {}
    assert parts.follow() == ["ecr", "elb"]
    parts.chosen = {"host": "image"}
    assert parts.follow() == ALL


@pytest.mark.parametrize("part", ALL)
def test_what_fails_is_tried_again(parts: Parts, part: str) -> None:
    parts.problem = part
    with pytest.raises(OSError, match=part):
        parts.follow(announced=True)
    parts.problem = ""
    assert parts.follow() == ALL
    assert parts.follow() == []


def test_load_balancers_targets_pass_their_checks_by_themselves(parts: Parts, config: Config) -> None:
    (config.state / "balancers").mkdir()
    (config.state / "balancers" / "one.json").write_text("{}")
    assert parts.follow() == parts.follow() == ALL


def test_one_process_at_a_time(config: Config) -> None:
    """Two would write the same journal."""
    server._claim(config)
    with pytest.raises(CommandError, match="are already running"):
        server._claim(config)
    assert (config.state / "server.pid").read_text() == str(os.getpid())


@pytest.fixture
def here(tmp_path: Path) -> Config:
    """A sandbox whose network's gateway is this machine; no port is in use."""
    return Config(subnet=ipaddress.IPv4Network("127.0.0.0/24"), aws_port=0, metadata_port=0, state=tmp_path)


def test_a_process_that_an_interrupted_start_left_is_waited_for(here: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one ends, since the other one has the lock, and is still replaying the journal."""
    started: list[object] = []

    def popen(*_: object, **__: object) -> SimpleNamespace:
        started.append(None)
        return SimpleNamespace(poll=lambda: 1)

    answers = iter([False, False, True])
    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(server, "_pid", lambda _: 4242 if started else None)
    monkeypatch.setattr(server, "answers", lambda _: next(answers))
    server.start(here)
    assert len(started) == 1
    # The hosts have its ports in their files.
    monkeypatch.setitem(vars(here), "metadata_port", 1)
    with pytest.raises(CommandError, match="know .* by SANDBOX_AWS_PORT=0 SANDBOX_METADATA_PORT=0: set both, or "):
        server.start(here)


@pytest.mark.parametrize(
    ("port", "variable"), [("aws_port", "SANDBOX_AWS_PORT"), ("metadata_port", "SANDBOX_METADATA_PORT")]
)
def test_a_port_in_use_is_named_at_every_start(
    here: Config, monkeypatch: pytest.MonkeyPatch, port: str, variable: str
) -> None:
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("started"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setitem(vars(here), port, listener.getsockname()[1])
        with pytest.raises(CommandError, match=f"of 127.0.0.1 is in use .*: set {variable} to a free port$"):
            server.start(here)
