"""What Ansible and the verbs call: each verb's JSON, and its errors."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from comentarios_release.__main__ import UNDO_TRIES, main
from comentarios_release.records import FAILED, GOOD, ROLLED_BACK, RUNNING
from comentarios_release.settings import ReleaseError

from tests.support.world import Points, World, fail

APPLY = ("apply", "--owner=ana@laptop", "--token=one", "--watch-seconds=30")


# --- lock and unlock


def test_lock(world: World) -> None:
    assert world.command("lock", "--owner=ana", "--token=one") == {"ended": None}
    assert world.command("lock", "--owner=ana", "--token=one") == {"ended": None}
    with pytest.raises(ReleaseError, match="ana is releasing on this host since"):
        world.command("lock", "--owner=rui", "--token=two")
    assert world.command("lock", "--owner=rui", "--token=two", "--abandoned=zero,one") == {"ended": None}
    assert world.command("unlock", "--token=one") == {}
    assert world.lock.holder()
    assert world.command("unlock", "--token=two") == {}
    assert world.lock.holder() is None and world.done == []


def test_lock_first_brings_an_interrupted_release_to_its_end(world: World) -> None:
    number = world.begin("v2")
    world.interrupted(Points(12))
    with pytest.raises(ReleaseError, match="ana@laptop is releasing"):
        world.command("lock", "--owner=rui", "--token=two")
    assert world.records.get(number).outcome == RUNNING
    taken = world.command("lock", "--owner=rui", "--token=two", "--abandoned=run-v2")
    assert taken == {"ended": {"number": number, "outcome": GOOD, "reason": ""}}
    holder = world.lock.holder()
    assert holder and holder.owner == "rui" and world.live == number


def test_lock_of_the_one_whose_release_was_interrupted(world: World) -> None:
    world.behaves["v2"] = "exits"
    number = world.begin("v2")
    taken = world.command("lock", "--owner=ana@laptop", "--token=run-v2")
    assert taken["ended"]["number"] == number and taken["ended"]["outcome"] == FAILED
    assert "ended at its start" in taken["ended"]["reason"]


def test_lock_when_the_interrupted_release_cannot_be_ended(world: World) -> None:
    number = world.begin("v2")
    world.lock.release("run-v2")
    world.work = lambda: None  # type: ignore[method-assign]
    with pytest.raises(ReleaseError, match=rf"release {number} was interrupted and cannot be brought to an end: `j"):
        world.command("lock", "--owner=rui", "--token=two")


# --- apply


def test_apply_begins_a_release_and_does_not_wait(world: World) -> None:
    world.stage("v2")
    begun = world.command(*APPLY)
    assert begun == {"changed": True, "number": 2, "kind": "release", "tag": "v2", "watch_seconds": 30}
    assert world.done == ["systemctl start --no-block comentarios-release.service"]
    record, holder = world.records.get(2), world.lock.holder()
    assert record.outcome == RUNNING and record.phase == "created" and record.finished is None
    assert (record.owner, record.token, record.origin, record.previous) == ("ana@laptop", "one", 2, 1)
    assert record.replicas == 2 and record.identity != world.target
    assert holder and holder.token == "one"
    environment = (world.records.configuration(2) / ".env").read_text()
    assert environment.endswith(f"\nAPI_RELEASE={record.identity}\n")
    assert world.live == 1


def test_apply_of_what_runs_already_changes_nothing(world: World) -> None:
    before = world.state()
    assert world.command(*APPLY) == {"changed": False, "number": 1}
    assert world.state() == before and world.done == []


def test_apply_repairs(world: World) -> None:
    """A file that somebody has edited on the host, or a replica that is down, is a difference."""
    (world.settings.stack_dir / "docker-compose.yml").write_text("edited")
    assert world.release("v1").outcome == GOOD
    assert world.command(*APPLY)["changed"] is False
    world.become(1, state="exited")
    assert world.release("v1").outcome == GOOD
    assert world.replicas() == ["v1 running", "v1 running"]


@pytest.mark.parametrize(
    ("staged", "kind", "watched"),
    [
        ({"tag": "v2"}, "release", 30),
        ({"tag": "v1", "replicas": 3}, "configuration", 30),
        ({"tag": "v1", "edge": " changed"}, "configuration", 30),
        ({"tag": "v1", "edge_image": "edge:2"}, "configuration", 30),
        # Nothing that serves requests changes.
        ({"tag": "v1", "rules": "changed"}, "configuration", 0),
    ],
)
def test_what_is_watched(world: World, staged: dict[str, Any], kind: str, watched: int) -> None:
    world.stage(**staged)
    begun = world.command(*APPLY)
    assert (begun["kind"], begun["watch_seconds"]) == (kind, watched)
    world.work()
    assert world.records.get(2).outcome == GOOD


def test_first_release_is_not_watched(nothing: World) -> None:
    nothing.stage("v1")
    assert nothing.command(*APPLY)["watch_seconds"] == 0
    assert nothing.records.get(1).previous is None


def test_second_apply_meanwhile_is_refused(world: World) -> None:
    world.begin("v2")
    with pytest.raises(ReleaseError, match="ana@laptop is releasing on this host since"):
        world.command(*APPLY)
    with pytest.raises(ReleaseError, match="release 2 is still on its way: wait until it has ended"):
        world.command("apply", "--owner=ana", "--token=run-v2")
    holder = world.lock.holder()
    assert holder and holder.token == "run-v2"


def test_apply_that_cannot_begin_gives_the_lock_back(world: World) -> None:
    (world.settings.staged / ".env").unlink()
    with pytest.raises(OSError, match=r"No such file .*\.env"):
        world.command(*APPLY)
    assert world.lock.holder() is None and world.records.unfinished() is None
    # What was put together of it is no release, and the next one begins afresh.
    assert world.release("v2").number == 2


# --- wait


def waiting(world: World, number: int, phase: str) -> Any:
    return world.command("wait", str(number), phase)


def test_wait_returns_when_the_phase_is_reached(world: World) -> None:
    number = world.begin("v2", watch=3)
    world.meanwhile += [lambda: None, lambda: world.interrupted(Points(14))]
    assert waiting(world, number, "ready")["seconds"] >= 0
    assert world.records.get(number).outcome == RUNNING
    world.meanwhile += [lambda: None, world.work]
    assert waiting(world, number, "done")["seconds"] >= 0
    assert world.records.get(number).outcome == GOOD and world.lock.holder() is None


def test_wait_for_the_end_is_for_all_of_it(world: World) -> None:
    """Whoever releases next must not meet this one's lock."""
    number = world.begin("v2")
    points = world.count()
    assert points[-2:] == ["os.remove lock.json", "os.rename .release.json.new"]
    assert world.interrupted(Points(len(points) - 2))
    assert world.records.get(number).outcome == GOOD and world.lock.holder()
    world.meanwhile.append(world.work)
    waiting(world, number, "done")
    assert world.lock.holder() is None


@pytest.mark.parametrize(("why", "ends"), [("exits", "failed: replica"), ("fails", "was rolled back: 25.0%")])
def test_wait_for_a_release_that_does_not_end_well(world: World, why: str, ends: str) -> None:
    world.behaves["v2"] = why
    number = world.begin("v2", watch=3)
    world.meanwhile.append(world.work)
    with pytest.raises(ReleaseError, match=f"release 2 of v2 {ends}"):
        waiting(world, number, "done")
    with pytest.raises(ReleaseError, match=f"release 2 of v2 {ends}"):
        waiting(world, number, "ready")


def test_wait_for_a_cancelled_release(world: World) -> None:
    number = world.begin("v2")
    world.command("cancel", "--token=run-v2")
    with pytest.raises(ReleaseError, match="release 2 of v2 was undone: it was cancelled"):
        waiting(world, number, "switched")


def test_wait_when_the_unit_has_given_up(world: World) -> None:
    number = world.begin("v2")
    world.interrupted(Points(world.count().index("before create a replica")))
    with pytest.raises(ReleaseError, match=r"release 2 stopped after the step `pulled` \(`journalctl .*the next rel"):
        waiting(world, number, "done")
    assert world.now > 4


def test_wait_does_not_mind_the_moment_between_two_starts_of_the_unit(world: World) -> None:
    number = world.begin("v2")
    world.meanwhile += [lambda: None] * 14 + [world.work]
    waiting(world, number, "done")


def test_wait_for_an_undo_that_does_not_work(world: World) -> None:
    """After the switch, and the old replicas do not come back: it is tried again, and said so."""
    number = world.begin("v2", watch=5)
    world.behaves |= {"v2": "fails", "v1": "unready"}
    for tries in range(1, UNDO_TRIES + 1):
        with pytest.raises(ReleaseError, match="is not ready after"):
            world.work()
        assert f"has failed {tries} times: replica" in world.records.get(number).reason
    assert "comentarios_release_last_success 0.000" in world.settings.textfile.read_text()
    with pytest.raises(ReleaseError, match=r"(?s)of v2 did not end well: .*\(50 of 200\).* failed 5 times: replica"):
        waiting(world, number, "done")
    del world.behaves["v1"]
    world.work()
    record = world.records.get(number)
    assert record.outcome == ROLLED_BACK and "(50 of 200)" in record.reason and world.live == 1


def test_wait_for_an_unknown_release(world: World) -> None:
    with pytest.raises(ReleaseError, match="there is no release 9"):
        waiting(world, 9, "done")


# --- cancel, list, work


def test_cancel_when_nothing_is_under_way(world: World) -> None:
    world.command("lock", "--owner=ana", "--token=one")
    assert world.command("cancel", "--token=one") == {"outcome": None}
    assert world.lock.holder() is None and world.done == []


def test_cancel_leaves_others_releases_alone(world: World) -> None:
    world.begin("v2")
    world.done.clear()
    assert world.command("cancel", "--token=another") == {"outcome": None}
    assert world.done == [] and world.lock.holder()


def test_cancel_before_the_program_has_begun(world: World) -> None:
    """SIGTERM finds a Python that is still starting, or none between a crash and the unit's next start."""
    before = world.state()
    number = world.begin("v2")
    world.done.clear()
    assert world.command("cancel", "--token=run-v2") == {"outcome": "cancelled"}
    assert world.done[0] == "systemctl stop comentarios-release.service"
    assert world.records.get(number).finished and world.state() == before


def test_cancel_while_it_is_being_undone_already(world: World) -> None:
    world.behaves["v2"] = "exits"
    number = world.begin("v2")
    world.interrupted(Points(len(world.count()) - 2))
    assert world.command("cancel", "--token=run-v2") == {"outcome": FAILED}
    assert "ended at its start" in world.records.get(number).reason


def test_cancel_that_comes_too_late(world: World) -> None:
    number = world.begin("v2")
    world.interrupted(Points(len(world.count()) - 2))
    assert world.command("cancel", "--token=run-v2") == {"outcome": GOOD}
    assert world.live == number and world.records.unfinished() is None


def test_list(world: World) -> None:
    world.begin("v2")
    known = world.command("list")
    assert known["live"] == 1 and [one["number"] for one in known["releases"]] == [1, 2]
    assert known["lock"]["owner"] == "ana@laptop" and known["lock"]["token"] == "run-v2"
    first, second = known["releases"]
    assert first["tag"] == "v1" and first["outcome"] == GOOD and first["finished"] >= first["started"]
    assert second["outcome"] == RUNNING and second["finished"] is None
    assert first.keys() == {
        *("number", "kind", "origin", "commit", "owner", "token", "started", "finished", "outcome", "reason"),
        *("times", "tag", "watch_seconds", "seen"),
    }
    assert json.loads(json.dumps(known)) == known


def test_list_of_an_empty_host(nothing: World) -> None:
    assert nothing.command("list") == {"live": None, "releases": [], "lock": None}


def test_work_with_nothing_to_do(world: World) -> None:
    assert world.command("work") == {}
    assert world.done == []


def test_work_fails_where_it_could_not_carry_on_so_that_it_is_started_again(world: World) -> None:
    number = world.begin("v2")
    world.points = Points(len(world.count()) - 2, fail)
    with world.points.watching(), pytest.raises(ReleaseError):
        world.work()
    world.work()
    assert world.records.get(number).finished


# --- the program itself: what it prints, and how it ends


@pytest.fixture
def settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of a host with a release, and on PATH an engine without containers."""
    world = World.under(folder / "program")
    world.stage("v1")
    bin_ = folder / "bin"
    bin_.mkdir()
    services = (world.settings.staged / "docker-compose.yml").as_posix()
    scripts = {
        "docker": f"""case "$*" in *" config --format json") cat {services};; image*) echo found;;
            *" up "*) echo "no such image" >&2; exit 1;; esac""",
        "systemctl": f'echo "$*" >>{folder}/systemctl; echo active',
    }
    for name, script in scripts.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_ / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    file = folder / "release.json"
    file.write_text(json.dumps({"stack_dir": str(world.settings.stack_dir), "textfile": str(folder / "release.prom")}))
    return file


def test_result_is_json_on_stdout(settings: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(APPLY, settings) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {
        "changed": True,
        "number": 1,
        "kind": "release",
        "tag": "v1",
        "watch_seconds": 0,
    }
    assert printed.err == ""
    assert (folder / "systemctl").read_text() == "start --no-block comentarios-release.service\n"
    assert main(["list"], settings) == 0
    assert json.loads(capsys.readouterr().out)["releases"][0]["number"] == 1


def test_error_is_one_line_on_stderr(settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given, line in (
        (["wait", "7", "done"], "there is no release 7: `make releases` lists them\n"),
        (["rollback", "--owner=ana", "--token=one"], "no release is live on this host yet: run `make up`\n"),
    ):
        assert main(given, settings) == 1
        assert capsys.readouterr() == ("", line)


def test_unit_carries_a_release_out(settings: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As far as an engine without images lets it."""
    assert main(APPLY, settings) == 0
    assert main(["work"], settings) == 0
    capsys.readouterr()
    assert main(["wait", "1", "done"], settings) == 1
    assert capsys.readouterr().err == "release 1 of v1 failed: no such image\n"
    assert "last_success 0.000" in (folder / "release.prom").read_text()


def test_host_without_settings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"], folder / "release.json") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.endswith("`make up` writes it anew\n")


def test_disk_that_is_full(settings: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Any other trouble with files is a line, too."""
    (folder / "program/stack/releases/lock.json").mkdir()
    assert main(APPLY, settings) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "lock.json" in error


@pytest.mark.parametrize("given", [[], ["nonsense"], ["lock"], ["wait", "one", "done"], ["wait", "1", "pulled"]])
def test_what_makes_no_sense_is_refused(settings: Path, given: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given, settings)
    assert ended.value.code == 2
