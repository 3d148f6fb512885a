"""The lines that `make logs` shows: its command for the host's shell, with lines of each service."""

from __future__ import annotations

import gzip
import io
import os
import shlex
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine
from botocore.response import StreamingBody

from cli import host as hosts
from cli import logs
from cli.targets import Target
from common.errors import CommandError

ID = "97f0c3e0a1b24d5e"
LINES = f"""\
api-1           | {{"time": "2026-11-25T10:00:00.000Z", "level": "info", "status": 503, "request_id": "{ID}"}}
api-1           | {{"time": "2026-11-25T10:00:00.000Z", "level": "error", "message": "gone", "request_id": "{ID}"}}
api-2           | {{"time": "2026-11-25T10:00:01.000Z", "level": "info", "path": "/{ID}", "request_id": "other-{ID}"}}
edge-1          | {{"time":"2026-11-25T10:00:00.000Z","level":"error","id":"{ID}","status":503}}
edge-1          | [NOTICE]   (1) : Loading success.
prometheus-1    | ts=2026-11-25T10:00:02.000Z caller=main.go level=warn msg="Error on ingesting"
alertmanager-1  | time=2026-11-25T10:00:03.000Z level=ERROR source=notify.go msg="Notify attempt failed"
grafana-1       | logger=http t=2026-11-25T10:00:04Z level=info msg="errors: 0" a.b
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A folder for PATH whose engine has these lines, and says how it was asked."""
    (tmp_path / "lines").write_text(LINES)
    engine = tmp_path / "docker"
    engine.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\ncat {tmp_path}/lines\n[ ! -e {tmp_path}/broken ]\n'
    )
    engine.chmod(0o755)
    return tmp_path


def shown(host: Path, **given: str) -> list[int]:
    """The numbers of the lines that are shown."""
    environment = {**os.environ, "PATH": f"{host}:{os.environ['PATH']}"}
    chosen: dict[str, Any] = {name.lower(): value for name, value in given.items()}
    command = logs.command(**chosen)
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
    lines = LINES.splitlines()
    return [lines.index(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ({}, list(range(8))),
        ({"LEVEL": "error"}, [1, 3, 6]),
        ({"LEVEL": "warning"}, [1, 3, 5, 6]),
        ({"LEVEL": "info"}, [0, 1, 2, 3, 5, 6, 7]),
        ({"REQUEST": ID}, [0, 1, 3]),
        ({"REQUEST": ID[:-1]}, []),
        ({"REQUEST": ID, "LEVEL": "error"}, [1, 3]),
        ({"GREP": "ERROR ON"}, [5]),
        ({"GREP": "a.b"}, [7]),
        ({"GREP": "a*b"}, []),
        ({"GREP": "-e"}, []),
        ({"GREP": "'; touch made; '"}, []),
    ],
)
def test_filters(host: Path, given: dict[str, str], numbers: list[int]) -> None:
    assert shown(host, **given) == numbers
    assert not (host / "made").exists() and not Path("made").exists()


def test_dot_of_a_requests_id_is_a_dot(host: Path) -> None:
    (host / "lines").write_text('edge-1 | {"id":"aXb"}\n')
    assert shown(host, REQUEST="a.b") == []


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, "--follow --tail 100"),
        ({"FOLLOW": "no"}, "--tail 100"),
        ({"SINCE": "10m"}, "--follow --since 10m"),
        ({"SINCE": "2d", "SERVICE": "api"}, "--follow --since 48h -- api"),
        ({"SINCE": "2026-01-31T12:00:00Z", "FOLLOW": "no"}, "--since 2026-01-31T12:00:00Z"),
        ({"SINCE": "yesterday", "FOLLOW": "no"}, "--since 2026-02-28T00:00:00Z"),
        ({"LEVEL": "error"}, "--follow"),
        # Behind the check of what people give, too.
        ({"SERVICE": "api; id"}, "--follow --tail 100 -- api; id"),
    ],
)
def test_how_the_engine_is_asked(host: Path, given: dict[str, str], asked: str) -> None:
    # A run of the suite may go on into the next day.
    with time_machine.travel(datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC)):
        shown(host, **given)
    words = (host / "asked").read_text().splitlines()
    assert words[:6] == ["compose", "--project-directory", "/opt/comentarios", "--ansi", "never", "logs"]
    assert " ".join(words[6:]) == asked


def test_logs_that_cannot_be_read_are_an_error(host: Path) -> None:
    (host / "broken").touch()
    with pytest.raises(subprocess.CalledProcessError):
        shown(host, LEVEL="error")


def test_it_is_one_word_of_bash() -> None:
    """Whatever shell the user of the host has."""
    assert shlex.split(logs.command(grep="it's"))[:2] == ["bash", "-c"]


class TestHosts:
    """Real processes in the place of SSH's, for each host a command of its own."""

    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        return Target("sandbox", tmp_path, {})

    @staticmethod
    def given(monkeypatch: pytest.MonkeyPatch, commands: dict[str, str]) -> None:
        found = [hosts.Host(name, "192.0.2.1", "admin", f"i-{name}") for name in commands]
        monkeypatch.setattr(hosts, "hosts", lambda _: found)
        monkeypatch.setattr(hosts, "ssh", lambda _, one, *__: ["sh", "-c", commands[one.name]])

    def test_one(self, target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.given(monkeypatch, {"one": r"printf '\033[2Ka\r\n\033[2Kb\r\n'"})
        assert logs.logs(target) == 0
        assert capsys.readouterr().out == "a\nb\n"

    def test_several_are_named(
        self, target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.given(monkeypatch, {"one": "echo a; echo b", "second": "echo c"})
        assert logs.logs(target) == 0
        assert sorted(capsys.readouterr().out.splitlines()) == ["one     a", "one     b", "second  c"]

    def test_one_that_fails_is_named(
        self, target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.given(monkeypatch, {"one": "echo a", "second": "exit 255"})
        with pytest.raises(CommandError, match="^second: the logs cannot be read"):
            logs.logs(target)
        assert capsys.readouterr().out == "one     a\n"

    def test_chosen(self, target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.given(monkeypatch, {"one": "echo a", "second": "echo b"})
        assert logs.logs(target, "second") == 0
        assert capsys.readouterr().out == "b\n"

    def test_who_has_seen_enough_is_no_error(self, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        """`make logs | head`: of a host that goes on and of one that is silent, nothing is left running."""
        self.given(monkeypatch, {"one": "while echo a; do :; done", "second": "exec sleep 100"})
        out, into = os.pipe()
        kept = os.dup(1)
        os.dup2(into, 1)
        os.close(into)
        try:
            with os.fdopen(1, "w", closefd=False) as broken:
                monkeypatch.setattr("sys.stdout", broken)
                threading.Timer(0.2, os.close, [out]).start()
                assert logs.logs(target) == 0
        finally:
            os.dup2(kept, 1)
            os.close(kept)

    def test_no_host(self, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given(monkeypatch, {})
        with pytest.raises(CommandError, match="no host is running"):
            logs.logs(target)


def body(content: bytes) -> dict[str, Any]:
    return {"Body": StreamingBody(io.BytesIO(content), len(content))}


class Bucket:
    """What S3 answers about the logs of two hosts that had one name, and of another."""

    meta = type("Meta", (), {"region_name": "us-east-1"})
    objects = {
        "logs/site-1.i-old/20260131T100000Z-20260131T101500Z.gz": "api-1  | first\nedge-1  | second\n",
        "logs/site-1.i-old/20260131T101500Z-20260131T103000Z.gz": "api-1  | third\njournal  | fourth\n",
        "logs/site-1.i-new/20260131T103000Z-20260131T104500Z.gz": "api-1  | fifth\n",
        "logs/site-2.i-two/20260131T100000Z-20260131T101500Z.gz": "api-1  | other\n",
    }

    def get_paginator(self, _: str) -> Bucket:
        return self

    def paginate(self, **asked: str) -> Iterator[dict[str, Any]]:
        assert asked == {"Bucket": "comentarios-1-us-east-1-backup", "Prefix": "logs/"}
        yield {}
        yield {"Contents": [{"Key": key} for key in self.objects]}

    def get_object(self, **asked: str) -> dict[str, Any]:
        return body(gzip.compress(self.objects[asked["Key"]].encode()))


class TestGone:
    """A host that does not run: what it has sent to S3."""

    @pytest.fixture
    def target(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
        monkeypatch.setattr(logs, "client", lambda *_: Bucket())
        monkeypatch.setattr(logs, "account", lambda _: "1")
        monkeypatch.setattr(hosts, "hosts", lambda _: [hosts.Host("site-3", "192.0.2.1", "admin", "i-three")])
        return Target("sandbox", tmp_path, {})

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"host_": "site-1"}, "fifth"),
            ({"host_": "i-old"}, "third fourth"),
            ({"host_": "site-1.i-old"}, "third fourth"),
            ({"host_": "site-1", "since": "2026-01-31T10:20"}, "third fourth fifth"),
            ({"host_": "site-1", "since": "2026-01-31T10:15:00Z", "service": "api"}, "third fifth"),
            ({"host_": "site-1", "grep": "R"}, "first third fourth"),
            ({"host_": "site-1", "service": "api", "grep": "f"}, "first fifth"),
            ({"host_": "i-old", "since": "2026-02-01T00:00"}, ""),
        ],
    )
    def test_what_is_shown(
        self, target: Target, capfd: pytest.CaptureFixture[str], given: dict[str, str], words: str
    ) -> None:
        assert logs.logs(target, **given) == 0
        assert [line.split(" | ")[1] for line in capfd.readouterr().out.splitlines()] == words.split()

    @pytest.mark.parametrize(
        "content",
        [
            b"no gzip",
            gzip.compress(b"api-1  | cut off\n" * 100, mtime=0)[:-12],
            gzip.compress(b"x", mtime=0)[:10] + b"\xff" * 20,
            b"\x1f",
        ],
    )
    def test_corrupt_logs_are_one_line(self, target: Target, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
        monkeypatch.setattr(Bucket, "get_object", lambda *_, **__: body(content))
        with pytest.raises(
            CommandError, match=r"/logs/site-2\.i-two/20260131T100000Z-20260131T101500Z\.gz is corrupt: "
        ):
            logs.logs(target, "site-2")

    def test_who_has_seen_enough_is_no_error(self, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
        """`make logs HOST=… | head`, amid more than a pipe holds."""
        many = gzip.compress(b"api-1  | a line\n" * 100_000)
        monkeypatch.setattr(Bucket, "get_object", lambda *_, **__: body(many))
        monkeypatch.setattr(logs, "_piped", lambda *_: "head -n 1")
        assert logs.logs(target, "site-2") == 0

    def test_unknown_one(self, target: Target) -> None:
        with pytest.raises(CommandError, match="HOST=site is not known: running: site-3; with logs in S3: site-1.i-n"):
            logs.logs(target, "site")
