"""The verbs for releases report what the hosts answered; no answer is an error."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from cli import host, release, settings
from cli.host import Host
from cli.targets import Target
from common.errors import CommandError

RUN = "0123456789abcdef"
ONE, TWO = (Host(name, "192.0.2.1", "admin", f"i-{name}") for name in ("one", "two"))
Answer = tuple[int, str, str]
SILENT: Answer = (255, "", "ssh: connect to host 192.0.2.1 port 22: Connection refused")
NONE_YET: Answer = (0, "", "")


def listed(run: str = "", live: int | None = 3) -> Answer:
    entry = {"number": 3, "tag": "v3", "run": run, "reason": "", "finished": 1.0}
    return 0, json.dumps({"live": live, "releases": [entry], "by": None}), ""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setattr(settings, "apply", lambda _: None)
    monkeypatch.setattr(host, "end_connections", lambda _: None)
    monkeypatch.setattr("secrets.token_hex", lambda _: RUN)
    return Target("aws", tmp_path, {})


def answering(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Answer]) -> None:
    found = [one for one in (ONE, TWO) if one.name in answers]
    monkeypatch.setattr(host, "hosts", lambda _: found)
    monkeypatch.setattr(host, "wait_for_ssh", lambda _: found)
    monkeypatch.setattr(host, "run", lambda _, one, command, timeout=60: CompletedProcess(command, *answers[one.name]))


def test_live(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {"one": listed(), "two": NONE_YET})
    assert release.live(target) == {"one": "v3", "two": ""}


def test_a_host_that_says_nothing_is_not_one_without_a_release(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or `make up` would release the working tree there."""
    answering(monkeypatch, {"one": listed(), "two": SILENT})
    with pytest.raises(CommandError, match="two does not list its releases: ssh: .*refused"):
        release.live(target)


@pytest.mark.parametrize(("records", "printed"), [(0, ""), (2, "listed\n")])
def test_question_to_the_host(tmp_path: Path, records: int, printed: str) -> None:
    """The program is asked where there are records, and is not needed where there are none."""
    for number in range(records):
        (tmp_path / f"releases/{number}").mkdir(parents=True)
        (tmp_path / f"releases/{number}/release.json").touch()
    program = tmp_path / "comentarios-release"
    program.write_text("#!/bin/sh\necho listed\n")
    program.chmod(0o755)
    command = release.LIST.removeprefix("sudo ").replace("/opt/comentarios", str(tmp_path))
    shell = {"PATH": f"{tmp_path}:/bin:/usr/bin"}
    done = subprocess.run(command, shell=True, env=shell, capture_output=True, text=True, check=True)  # noqa: S602
    assert done.stdout == printed


def test_no_release_yet(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {"one": NONE_YET})
    with pytest.raises(CommandError, match="one has no release: run `make up`"):
        release.listing(target, ONE)


def play(target: Target) -> list[str]:
    return [f"{entry['tag']} on {entry['host']}" for entry in release.play(target, "release", "playbooks/release.yml")]


@pytest.mark.parametrize(("run", "made"), [(RUN, ["v3 on one"]), ("another", [])])
def test_what_came_of_a_run(target: Target, monkeypatch: pytest.MonkeyPatch, run: str, made: list[str]) -> None:
    monkeypatch.setattr(release, "logged", lambda *_, **__: 0)
    answering(monkeypatch, {"one": listed(run)})
    assert play(target) == made


def test_nothing_to_release_is_not_said_of_a_host_that_does_not_answer(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "logged", lambda *_, **__: 0)
    answering(monkeypatch, {"one": SILENT})
    with pytest.raises(CommandError, match="one does not list its releases"):
        play(target)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([None], "no release was under way"),
        (["cancelled", None], "the release was undone"),
        (["good", None], "the release had already ended: good; `make releases` lists it"),
        (["cancelled", "silent"], "two does not answer: check the release with `make releases`"),
    ],
)
def test_interrupted(target: Target, monkeypatch: pytest.MonkeyPatch, answers: list[str | None], said: str) -> None:
    def interrupt(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(release, "logged", interrupt)
    given = [SILENT if one == "silent" else (0, json.dumps({"outcome": one}), "") for one in answers]
    answering(monkeypatch, dict(zip(("one", "two"), given, strict=False)))
    with pytest.raises(CommandError) as refused:
        play(target)
    assert str(refused.value) == f"interrupted: {said}"
