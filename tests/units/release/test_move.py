"""A release that moves the comments to another database: which one is live at the end, whatever happens."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from comentarios_release import files
from comentarios_release.records import CANCELLED, FAILED, GOOD, ROLLED_BACK
from comentarios_release.settings import ReleaseError

from tests.support.world import SETTINGS, Points, World, ask_to_end, copy_of

POSTGRESQL = "database_url-1"
URL = "postgresql://ana:secret@db.example.com/comentarios"
SQLITE = ""


def database(name: str, url: str = URL) -> dict[str, Any]:
    """What role stack stages for a database; the API's settings differ, so its replicas are others."""
    services = {
        "api": {"image": "", "deploy": {"replicas": 2}, "environment": {"DATABASE_URL_FILE": name}},
        "edge": {"image": "edge:1", "user": "10003:10003"},
        "prometheus": {"image": "prometheus:1"},
    }
    override = f"secrets: {{database_url: {{file: /opt/comentarios/secrets/{name}}}}}"
    return {SETTINGS[0]: json.dumps({"services": services}), SETTINGS[1]: override, f"secrets/{name}": url}


def begin(world: World, tag: str = "v1", watch: int = 2) -> int:
    """A move to PostgreSQL that has begun."""
    world.stage(f"run-{tag}", others=database(POSTGRESQL))
    begun = world.apply(tag, "--move", watch=watch)
    assert begun["kind"] == "move"
    number: int = begun["number"]
    return number


def consistent(world: World) -> None:
    """The release that has the requests uses the one database that is not sealed."""
    [live] = {POSTGRESQL, SQLITE} - world.sealed if world.sealed else {SQLITE}
    release = next(one for one in reversed(world.records.all()) if one.identity == world.target)
    assert files.database(world.records.configuration(release.number)) == live


def test_move(world: World) -> None:
    number = begin(world)
    world.done.clear()
    world.work()
    record = world.records.get(number)
    assert record.outcome == GOOD and record.copied == {"done": 1, "of": 1} and record.held_seconds is not None
    assert world.sealed == {SQLITE} and not world.waiting
    assert world.done.index("copy") < world.done.index("create a replica") < world.done.index("seal")
    assert world.done.index("seal") < world.done.index("switch") < world.done.index("stop api")
    consistent(world)


def test_killed_anywhere_it_ends_as_if_nothing_had_happened(world: World, folder: Path) -> None:
    begin(world)
    reference = copy_of(world, folder / "reference")
    reference.work()
    for at in itertools.count():
        one, points = copy_of(world, folder / f"at-{at}"), Points(at)
        if not one.interrupted(points):
            break
        # The hold ends by itself.
        one.waiting = False
        one.work()
        assert one.state() == reference.state(), points.passed[at]
        consistent(one)
    assert at > 30


@pytest.mark.parametrize(
    ("bad", "outcome", "reason"),
    [
        ({"unmovable": "copy"}, FAILED, "the comments cannot be moved: connection refused"),
        ({"unmovable": "finish"}, FAILED, "the comments cannot be moved: connection refused"),
        ({"deaf": True}, FAILED, "does not reach the new replicas"),
        ({"behaves": "fails"}, ROLLED_BACK, "of the requests of the last 1 s failed"),
    ],
    ids=["copy", "finish", "deaf", "worse"],
)
def test_killed_anywhere_it_is_undone_all_the_same(
    world: World, folder: Path, bad: dict[str, Any], outcome: str, reason: str
) -> None:
    """With the comments that came since, which the undo moves back."""
    number = begin(world, "v2", watch=5)
    world.unmovable = bad.get("unmovable", "")
    world.behaves["v2"] = bad.get("behaves", "")
    if bad.get("deaf"):
        world.deaf.add(world.records.get(number).identity)
    for at in itertools.count():
        one, points = copy_of(world, folder / f"at-{at}"), Points(at)
        over = not one.interrupted(points)
        one.waiting = False
        one.work()
        record = one.records.get(number)
        assert record.outcome == outcome and reason in record.reason, record.reason
        assert one.live == 1 and one.replicas() == ["v1 running", "v1 running"]
        assert SQLITE not in one.sealed and not one.waiting
        consistent(one)
        if over:
            break


def test_cancelled_anywhere_one_database_is_live(world: World, folder: Path) -> None:
    number = begin(world)
    outcomes = set()
    for at in itertools.count():
        one, points = copy_of(world, folder / f"at-{at}"), Points(at, ask_to_end)
        if not one.interrupted(points):
            break
        record = one.records.get(number)
        outcomes.add(record.outcome)
        assert one.live == (1 if record.outcome == CANCELLED else number), points.passed[at]
        assert not one.waiting
        consistent(one)
    assert outcomes == {CANCELLED, GOOD}


def test_another_database_needs_the_verb(world: World) -> None:
    """Its comments would be missing: nothing changes, whoever names it by mistake."""
    before = world.state()
    world.stage("run-v1", others=database(POSTGRESQL))
    with pytest.raises(ReleaseError, match="names another database, which lacks the comments; nothing was changed"):
        world.apply("v1")
    assert world.state() == before


def test_the_same_database_with_another_password_is_no_move(world: World) -> None:
    begin(world)
    world.work()
    world.stage("run-v1", others=database("database_url-2", URL.replace("secret", "another")))
    assert world.apply("v1")["kind"] == "configuration"
    world.work()
    world.stage("run-v1", others=database("database_url-3", URL.replace("db.", "elsewhere.")))
    with pytest.raises(ReleaseError, match="names another database"):
        world.apply("v1")


def test_nothing_to_move(world: World) -> None:
    begin(world)
    world.work()
    world.stage("run-v1", others=database(POSTGRESQL))
    assert world.apply("v1", "--move") == {"changed": False, "number": 2}


def test_writes_cannot_be_held_by_an_edge_that_changes(world: World) -> None:
    before = world.state()
    world.stage("run-v1", others=database(POSTGRESQL), edge=" of another version")
    with pytest.raises(ReleaseError, match="the edge's configuration differs, and a move cannot change it"):
        world.apply("v1", "--move")
    assert world.state() == before


def test_there_and_back(world: World) -> None:
    begin(world)
    world.work()
    world.stage("run-v1")
    assert world.apply("v1", "--move")["kind"] == "move"
    world.work()
    assert world.sealed == {POSTGRESQL}
    consistent(world)


def test_no_rollback_to_the_old_database(world: World) -> None:
    begin(world)
    world.work()
    before = world.state()
    with pytest.raises(ReleaseError, match=r"release 1 used another database, .* `make release TAG=v1` runs its image"):
        world.command("rollback", "--owner=ana", "--run=back")
    assert world.state() == before
