"""`make move-database`: its checks, and the order of its changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli import database, host, release, up
from cli.host import Host
from cli.targets import Target
from common.errors import CommandError

PARAMETER = "/comentarios/database_url"


class World:
    """What Terraform wrote into the host's tags, what the settings name, and what was run."""

    def __init__(self, tag: str = "", settings: str = PARAMETER, hosts: int = 1):
        self.tag, self.settings, self.hosts = tag, settings, hosts
        self.done: list[str] = []
        self.said: list[str] = []
        self.moves = True

    def wait_for_ssh(self, _: Target) -> list[Host]:
        return [
            Host(f"comentarios-{n + 1}", "192.0.2.1", "admin", f"i-{n}", database=self.tag) for n in range(self.hosts)
        ]

    def apply(self, _: Target) -> None:
        self.done.append("terraform")
        self.tag = self.settings

    def play(self, _: Target, what: str, __: str, *___: str, **variables: Any) -> list[dict[str, Any]]:
        self.done.append(what)
        assert variables == ({"stack_move": True} if what == "move" else {})
        made = {"kind": "move", "number": 2, "host": "comentarios-1", "held_seconds": 2.0}
        return [made] if what == "move" and self.moves else []


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(host, "wait_for_ssh", lambda target: made.wait_for_ssh(target))
    monkeypatch.setattr(up, "apply_terraform", lambda target: made.apply(target))
    monkeypatch.setattr(release, "play", lambda *given, **variables: made.play(*given, **variables))
    monkeypatch.setattr(database, "say", made.said.append)
    return made


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target("aws", tmp_path, {})


def test_move(world: World, target: Target) -> None:
    """First the host gets this checkout's configuration, with which its edge can hold writes."""
    database.move_database(target, PARAMETER)
    assert world.done == ["release", "terraform", "move"]
    assert world.said[0] == f"✓ moved to {PARAMETER}: release 2 on comentarios-1; writes waited 2 s"


def test_an_interrupted_move_carries_on(world: World, target: Target) -> None:
    """The host's tag names the database already: another release before the move would be refused."""
    world.tag = PARAMETER
    database.move_database(target, PARAMETER)
    assert world.done == ["move"]


def test_back(world: World, target: Target) -> None:
    world.tag, world.settings = PARAMETER, ""
    database.move_database(target, "sqlite")
    assert world.done == ["release", "terraform", "move"]


def test_nothing_to_move(world: World, target: Target) -> None:
    world.tag, world.moves = PARAMETER, False
    database.move_database(target, PARAMETER)
    assert world.said == [f"✓ nothing to move: {PARAMETER} is already the live database"]


@pytest.mark.parametrize(
    ("to", "settings", "tag", "says"),
    [
        (PARAMETER, "", "", r"the settings name sqlite: set `database_url_parameter: /comentarios/database_url` under"),
        (
            "sqlite",
            PARAMETER,
            PARAMETER,
            r"the settings name /comentarios/database_url: remove `database_url_p",
        ),
    ],
)
def test_settings_that_name_another(world: World, target: Target, to: str, settings: str, tag: str, says: str) -> None:
    """The next `make up` would undo it."""
    world.settings, world.tag = settings, tag
    with pytest.raises(CommandError, match=says):
        database.move_database(target, to)
    assert "move" not in world.done


@pytest.mark.parametrize("to", ["", "7", "postgresql", "/other/database_url", "/comentarios-2/database_url"])
def test_no_database(world: World, target: Target, to: str) -> None:
    with pytest.raises(CommandError, match=r"is not a database: give the parameter of SSM Parameter Store"):
        database.move_database(target, to)
    assert not world.done


def test_several_hosts(world: World, target: Target) -> None:
    world.hosts = 2
    with pytest.raises(CommandError, match=r"several hosts \(comentarios-1, comentarios-2\): set instance_count to 1"):
        database.move_database(target, PARAMETER)
    assert not world.done
