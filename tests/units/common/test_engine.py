"""When an engine of ours is stopped: never while it may have containers, or while another process uses it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import engine
from common.paths import ROOT
from tests.support.docker import Docker


@pytest.fixture
def signals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that an engine of ours gets."""
    sent: list[int] = []
    monkeypatch.setattr(engine, "RECORD", tmp_path / "dockerd.pid")
    monkeypatch.setattr(engine, "PIDFILE", tmp_path / "docker.pid")
    engine.RECORD.write_text("4194305")
    engine.PIDFILE.write_text("4194305")
    alive = iter([True, False])
    monkeypatch.setattr(engine, "_is_dockerd", lambda _: next(alive))
    kill = os.kill
    monkeypatch.setattr("os.kill", lambda pid, number: sent.append(pid) if pid == 4194305 else kill(pid, number))
    return sent


@pytest.mark.parametrize(
    ("listed", "stopped"), [("", True), ("echo 0123456789ab", False), ("echo 'no answer' >&2; exit 1", False)]
)
def test_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: list[int], listed: str, stopped: bool) -> None:
    """One that does not answer is not taken for one without containers."""
    Docker(tmp_path / "bin", monkeypatch).answers(ps=listed)
    engine.stop()
    assert signals == ([4194305] if stopped else [])


def test_another_process_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: list[int]) -> None:
    """`make down` of a test's site stopped the engine, while other tests had no container and needed it."""
    Docker(tmp_path / "bin", monkeypatch).answers(ps="")
    with uses_the_engine() as other:
        engine.stop()
        assert signals == []
        # However it ends.
        other.kill()
        other.wait()
    engine.stop()
    assert signals == [4194305]


def test_only_this_process_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signals: list[int]) -> None:
    Docker(tmp_path / "bin", monkeypatch).answers(ps="")
    monkeypatch.setattr(engine, "answers", lambda: True)
    with engine.running():
        assert signals == []
    assert signals == [4194305]


@contextlib.contextmanager
def uses_the_engine() -> Iterator[subprocess.Popen[str]]:
    """Another process, that has made sure that the engine runs."""
    script = f"""
from pathlib import Path
from common import engine
engine.PIDFILE = Path({str(engine.PIDFILE)!r})
engine.answers = lambda: True
engine.ensure()
print("ready", flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()
