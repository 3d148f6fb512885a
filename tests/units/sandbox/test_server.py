"""An idle sandbox looks for changes, and works only if there are any."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.config import Config
from sandbox import elb, hosts, images, registry
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
