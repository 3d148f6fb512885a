"""The commands that Ansible and the verbs call: their JSON, and their errors."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from comentarios_release import files, lock
from comentarios_release.__main__ import UNDO_TRIES, main
from comentarios_release.records import FAILED, GOOD, ROLLED_BACK, RUNNING
from comentarios_release.settings import ReleaseError

from tests.support.world import Beginning, Points, World, fail, receiver

APPLY = ("apply", "--owner=ana@laptop", "--run=run-v2", "--watch-seconds=30")


# --- apply


def test_apply_begins_a_release_and_does_not_wait(world: World) -> None:
    world.stage("run-v2", rules="rules of v2")
    begun = world.apply("v2", watch=30)
    difference = begun.pop("diff")
    assert begun == {"changed": True, "number": 2, "kind": "release", "tag": "v2", "watch_seconds": 30}
    assert world.done == ["pull", "check prometheus", "systemctl start --no-block comentarios-release.service"]
    record = world.records.get(2)
    assert record.outcome == RUNNING and record.phase == "created" and record.finished is None
    assert (record.owner, record.run, record.origin, record.previous) == ("ana@laptop", "run-v2", 2, 1)
    assert record.replicas == 2 and record.identity != world.target and record.commit == "commit of v2"
    assert record.changed == [".env", "prometheus/rules.yml"]
    rules = {"before": "rules of v1", "after": "rules of v2"}
    assert difference[1] == {"before_header": "prometheus/rules.yml", "after_header": "prometheus/rules.yml"} | rules
    environment = (world.records.configuration(2) / ".env").read_text()
    assert environment.endswith(f"\nAPI_IMAGE=registry/comentarios-api:v2\nAPI_RELEASE={record.identity}\n")
    assert world.live == 1 and not list((world.settings.stack_dir / "staged").iterdir())


def test_apply_waits_for_the_end(world: World) -> None:
    world.stage("run-v2")
    world.registry.add("registry/comentarios-api:v2")
    world.meanwhile.append(world.work)
    done = world.command(*APPLY, "--image=registry/comentarios-api:v2")
    assert done["number"] == 2 and done["seconds"] >= 0 and world.live == 2
    assert world.command(*APPLY)["changed"] is False
    world.behaves["v3"] = "exits"
    world.stage("run-v2")
    world.registry.add("registry/comentarios-api:v3")
    world.meanwhile.append(world.work)
    with pytest.raises(ReleaseError, match="release 3 of v3 failed: replica"):
        world.command(*APPLY, "--image=registry/comentarios-api:v3")


def test_apply_of_what_runs_already_changes_nothing(world: World) -> None:
    world.stage("run-v1", rules="rules of v1", others=receiver("one"))
    before = world.state() | {"staged": []}
    assert world.apply("v1") == {"changed": False, "number": 1}
    assert world.state() == before and world.done == []


def test_apply_without_an_image_keeps_the_live_one(world: World) -> None:
    world.stage("run-v2", edge=" changed")
    assert world.begun(*APPLY)["kind"] == "configuration"
    world.work()
    assert world.records.get(2).outcome == GOOD and world.replicas() == ["v1 running", "v1 running"]


def test_what_is_not_staged_stays(world: World) -> None:
    """As with `--tags prometheus`: the rules alone."""
    files.write(world.settings.staged("run-v2") / "prometheus/rules.yml", "rules of v2")
    assert world.begun(*APPLY)["watch_seconds"] == 0
    world.done.clear()
    world.work()
    assert "hang up" in world.done and not any("create" in call for call in world.done)
    assert world.loaded["prometheus"] == "rules of v2"
    assert (world.settings.stack_dir / "haproxy/haproxy.cfg").read_text() == "configuration of the edge"


def test_check_only_shows_what_would_change(world: World) -> None:
    world.stage("run-v2", rules="rules of v2", others=receiver("two"))
    before = world.state() | {"staged": []}
    shown = world.apply("v2", "--check")
    assert [one["after_header"] for one in shown["diff"]] == [
        ".env",
        "alertmanager/alertmanager.yml",
        "alertmanager/secrets/url-two",
        "prometheus/rules.yml",
    ]
    assert (shown["changed"], shown["diff"][2]["before"], shown["diff"][2]["after"]) == (True, "", "another secret\n")
    assert "https://two" not in json.dumps(shown)
    assert world.state()["files"] == before["files"] and world.done == [] and world.records.unfinished() is None


def test_apply_repairs(world: World) -> None:
    """A file that somebody has edited on the host, one that is gone, or a replica that is down, is a difference."""
    stack = world.settings.stack_dir
    (stack / "docker-compose.yml").write_text("edited")
    (stack / "alertmanager/secrets/url-one").unlink()
    (stack / "prometheus/another.yml").write_text("put there by hand")
    assert world.release("v1", rules="rules of v1", others=receiver("one")).outcome == GOOD
    assert (stack / "alertmanager/secrets/url-one").exists() and not (stack / "prometheus/another.yml").exists()
    assert world.command(*APPLY)["changed"] is False
    world.become(1, state="exited")
    assert world.release("v1").outcome == GOOD
    assert world.replicas() == ["v1 running", "v1 running"]


@pytest.mark.parametrize(
    ("tag", "staged", "kind", "watched"),
    [
        ("v2", {}, "release", 30),
        ("v1", {"replicas": 3}, "configuration", 30),
        ("v1", {"edge": " changed"}, "configuration", 30),
        ("v1", {"edge_image": "edge:2"}, "configuration", 30),
        # Nothing that serves requests changes.
        ("v1", {"rules": "changed"}, "configuration", 0),
    ],
)
def test_what_is_watched(world: World, tag: str, staged: dict[str, Any], kind: str, watched: int) -> None:
    world.stage(f"run-{tag}", **staged)
    begun = world.apply(tag, watch=30)
    assert (begun["kind"], begun["watch_seconds"]) == (kind, watched)
    world.work()
    assert world.records.get(2).outcome == GOOD


def test_first_release_is_not_watched(nothing: World) -> None:
    nothing.stage("run-v1")
    assert nothing.apply("v1", watch=30)["watch_seconds"] == 0
    assert nothing.records.get(1).previous is None


def refused(world: World, reason: str, tag: str = "v2") -> None:
    """What is staged for a tag's run is refused, before anything changes, and the next run begins afresh."""
    world.done.clear()
    before = {name: value for name, value in world.state().items() if name not in ("images", "staged")}
    with pytest.raises(ReleaseError, match=reason):
        world.apply(tag)
    after = world.state()
    assert {name: after[name] for name in before} == before and after["staged"] == []
    assert not any(call.startswith("systemctl") for call in world.done)
    world.refused.clear()
    assert world.release("v3").outcome == GOOD


def test_compose_file_that_does_not_render_is_refused(world: World) -> None:
    world.stage("run-v2", others={"docker-compose.yml": "services: {"})
    refused(world, "could not find expected")


def test_dashboard_that_is_no_json_is_refused(world: World) -> None:
    world.stage("run-v2", others={"grafana/dashboards/api.json": '{"title": '})
    refused(world, r"grafana/dashboards/api.json is damaged \(.*Nothing was changed")


@pytest.mark.parametrize("service", ["edge", "prometheus", "alertmanager"])
def test_files_that_their_program_refuses(world: World, service: str) -> None:
    others = {"alertmanager/alertmanager.yml": "x", "alertmanager/secrets/url-one": "https://one.example.com"}
    image = {"alertmanager": {"image": "alertmanager:1"}}
    world.stage("run-v2", edge=" x", rules="x", others=others)
    compose = world.settings.staged("run-v2") / "docker-compose.yml"
    compose.write_text(json.dumps({"services": json.loads(compose.read_text())["services"] | image}))
    world.refused[service] = "FAILED: it does not parse"
    refused(world, f"{service} refuses its configuration, nothing was changed: FAILED: it does not parse")


def test_image_that_is_not_available_is_refused(world: World) -> None:
    world.stage("run-v2")
    with pytest.raises(ReleaseError, match="gone is neither on this host nor can it be pulled: .* Nothing was changed"):
        world.command(*APPLY, "--image=registry/comentarios-api:gone")
    assert world.records.unfinished() is None and world.live == 1


def test_host_without_a_release_needs_an_image(nothing: World) -> None:
    nothing.stage("run-v2")
    with pytest.raises(ReleaseError, match="no release is live on this host yet, and no image is given: run `make up`"):
        nothing.command(*APPLY)
    with pytest.raises(ReleaseError, match="nothing is staged, and no release is live"):
        nothing.apply("v1")


def test_what_killed_runs_have_staged_goes_after_a_day(world: World) -> None:
    for run, age in (("killed", 90_000), ("beside", 60)):
        world.stage(run)
        os.utime(world.settings.staged(run), (time.time() - age,) * 2)
    world.release("v2")
    assert [path.name for path in (world.settings.stack_dir / "staged").iterdir()] == ["beside"]


# --- two at once


def test_second_apply_waits_for_the_release_under_way(world: World) -> None:
    world.begin("v2", watch=2)
    world.done.clear()
    assert world.begin("v3") == 3
    # Starting the unit that runs waits for it, and one that was interrupted is carried on with.
    assert world.done[0] == "systemctl start comentarios-release.service"
    assert world.records.get(2).outcome == GOOD and world.records.get(2).finished
    world.work()
    assert world.live == 3


def test_release_that_cannot_be_ended(world: World) -> None:
    number = world.begin("v2")
    world.work = lambda: None  # type: ignore[method-assign]
    with pytest.raises(ReleaseError, match=rf"release {number} was interrupted and cannot be ended: `journalctl"):
        world.begin("v3")


def test_apply_beside_a_restore_is_refused_by_name(world: World) -> None:
    world.stage("run-v2")
    with world.held("restore"), pytest.raises(ReleaseError, match="restore has been working on"):
        world.apply("v2")
    assert world.release("v2").outcome == GOOD


def test_restore_keeps_releases_away(world: World) -> None:
    world.stage("run-v2")
    with lock.exclusive(world.settings, "restore"), pytest.raises(ReleaseError, match="restore has been working"):
        world.apply("v2")
    assert world.release("v2").outcome == GOOD


# --- wait


@pytest.mark.parametrize(("why", "ends"), [("exits", "failed: replica"), ("fails", "was rolled back: 25.0%")])
def test_wait_for_a_release_that_does_not_end_well(world: World, why: str, ends: str) -> None:
    world.behaves["v2"] = why
    number = world.begin("v2", watch=3)
    world.meanwhile.append(world.work)
    with pytest.raises(ReleaseError, match=f"release 2 of v2 {ends}"):
        world.wait(number)


def test_wait_for_a_cancelled_release(world: World) -> None:
    number = world.begin("v2")
    world.command("cancel", "--run=run-v2")
    with pytest.raises(ReleaseError, match="release 2 of v2 was undone: it was cancelled"):
        world.wait(number)


def test_wait_when_the_unit_has_given_up(world: World) -> None:
    number = world.begin("v2")
    world.interrupted(Points(world.count().index("before create a replica")))
    with pytest.raises(ReleaseError, match=r"release 2 stopped after the step `created` \(`journalctl .*the next rel"):
        world.wait(number)
    assert world.now > 4


def test_wait_does_not_mind_the_moment_between_two_starts_of_the_unit(world: World) -> None:
    number = world.begin("v2")
    world.meanwhile += [lambda: None] * 14 + [world.work]
    assert world.wait(number)["seconds"] >= 0


def test_wait_for_an_undo_that_does_not_work(world: World) -> None:
    """After the switch, and the old replicas do not come back: it is tried again, and said so."""
    number = world.begin("v2", watch=5)
    world.behaves |= {"v2": "fails", "v1": "unready"}
    for tries in range(1, UNDO_TRIES + 1):
        with pytest.raises(ReleaseError, match="is not ready after"):
            world.work()
        assert f"has failed {tries} times: replica" in world.records.get(number).reason
    assert "comentarios_release_last_success 0.000" in world.settings.textfile.read_text()
    with pytest.raises(ReleaseError, match=r"(?s)of v2 failed: .*\(50 of 200\).* failed 5 times: replica"):
        world.wait(number)
    del world.behaves["v1"]
    world.work()
    record = world.records.get(number)
    assert record.outcome == ROLLED_BACK and "(50 of 200)" in record.reason and world.live == 1


def test_wait_for_an_unknown_release(world: World) -> None:
    with pytest.raises(ReleaseError, match="there is no release 9"):
        world.wait(9)


# --- cancel, list, work


def test_cancel_when_nothing_is_under_way(world: World) -> None:
    assert world.command("cancel", "--run=run-v2") == {"outcome": None}
    assert world.done == []


def test_cancel_leaves_others_releases_alone(world: World) -> None:
    world.begin("v2")
    world.done.clear()
    assert world.command("cancel", "--run=another") == {"outcome": None}
    assert world.done == [] and world.records.unfinished()


def test_cancel_while_the_images_are_pulled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no release yet, and there will be none."""
    world.stage("run-v2")
    before = world.state() | {"staged": []}

    def pull(_: object, image: str) -> None:
        world.command("cancel", "--run=run-v2")

    monkeypatch.setattr("tests.support.world.FakeEngine.ensure_image", pull)
    with pytest.raises(ReleaseError, match="^cancelled: nothing was changed$"):
        world.apply("v2")
    assert world.state()["files"] == before["files"] and world.records.unfinished() is None


def test_cancel_before_the_program_has_begun(world: World) -> None:
    """SIGTERM finds a Python that is still starting, or none between a crash and the unit's next start."""
    world.stage("run-v2")
    world.apply("v2")
    world.command("cancel", "--run=run-v2")
    before = world.state()
    number = world.begin("v2")
    world.done.clear()
    assert world.command("cancel", "--run=run-v2") == {"outcome": "cancelled"}
    assert world.done[0] == "systemctl stop comentarios-release.service"
    assert world.records.get(number).finished and world.state() == before


def test_cancel_while_it_is_being_undone_already(world: World) -> None:
    world.behaves["v2"] = "exits"
    number = world.begin("v2")
    world.interrupted(Points(len(world.count()) - 2))
    assert world.command("cancel", "--run=run-v2") == {"outcome": FAILED}
    assert "ended at its start" in world.records.get(number).reason


def test_cancel_that_comes_too_late(world: World) -> None:
    number = world.begin("v2")
    world.interrupted(Points(len(world.count()) - 2))
    assert world.command("cancel", "--run=run-v2") == {"outcome": GOOD}
    assert world.live == number and world.records.unfinished() is None


def test_list(world: World) -> None:
    assert world.command("list")["by"] is None
    world.begin("v2")
    known = world.command("list")
    assert known["live"] == 1 and [one["number"] for one in known["releases"]] == [1, 2]
    assert known["by"] == "ana@laptop"
    first, second = known["releases"]
    assert first["tag"] == "v1" and first["outcome"] == GOOD and first["finished"] >= first["started"]
    assert second["outcome"] == RUNNING and second["finished"] is None
    assert first.keys() == {
        *("number", "kind", "origin", "previous", "commit", "owner", "run", "started", "finished", "outcome", "reason"),
        *("times", "tag", "image", "phase", "ready_seconds", "replicas", "watch_seconds", "seen"),
        *("copied", "held_seconds"),
    }
    assert json.loads(json.dumps(known)) == known


def test_list_of_an_empty_host(nothing: World) -> None:
    assert nothing.command("list") == {"live": None, "releases": [], "by": None}


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
    world.stage("run-v2")
    bin_ = folder / "bin"
    bin_.mkdir()
    services = folder / "services.json"
    image = "registry/comentarios-api:v1"
    services.write_text(json.dumps({"services": {"api": {"image": image, "deploy": {"replicas": 1}}}}))
    scripts = {
        "docker": f"""case "$*" in *" config --format json") cat {services};; image*) echo found;;
            *" up "*) echo "no such image" >&2; exit 1;; esac""",
        "systemctl": f'echo "$*" >>{folder}/systemctl; echo active',
    }
    for name, script in scripts.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin_ / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    monkeypatch.setattr("comentarios_release.__main__.Command", Beginning)
    file = folder / "release.json"
    file.write_text(json.dumps({"stack_dir": str(world.settings.stack_dir), "textfile": str(folder / "release.prom")}))
    return file


def test_result_is_json_on_stdout(settings: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*APPLY, "--image=registry/comentarios-api:v1"], settings) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert len(result.pop("diff")) == 4
    assert result == {
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
    assert main(["rollback", "--owner=ana", "--run=one"], settings) == 1
    assert capsys.readouterr() == ("", "no release is live on this host yet: run `make up`\n")


def test_unit_carries_a_release_out(settings: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As far as an engine without images lets it."""
    assert main([*APPLY, "--image=registry/comentarios-api:v1"], settings) == 0
    assert main(["work"], settings) == 0
    capsys.readouterr()
    assert main(["list"], settings) == 0
    (record,) = json.loads(capsys.readouterr().out)["releases"]
    assert record["outcome"] == FAILED and record["reason"] == "no such image"
    assert "last_success 0.000" in (folder / "release.prom").read_text()


def test_host_without_settings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"], folder / "release.json") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.endswith("`make up` writes it again\n")


def test_disk_that_is_full(settings: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Any other trouble with files is a line, too."""
    (folder / "program/stack/releases/lock").mkdir()
    assert main(APPLY, settings) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "releases/lock" in error


def test_certificate_without_a_domain(settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Metrics of a certificate that does not exist would raise an alert."""
    assert main(["certificate"], settings) == 1
    assert capsys.readouterr().err == "this site has no domain, so it has no certificate\n"
    assert not list(tmp_path.rglob("certificate.prom"))


@pytest.mark.parametrize("given", [[], ["nonsense"], ["cancel"], ["rollback", "--run=one"]])
def test_what_makes_no_sense_is_refused(settings: Path, given: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given, settings)
    assert ended.value.code == 2
