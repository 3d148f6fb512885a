"""When the virtual environment is made anew, and that it is made by one verb at a time."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli import venv

HERE = f"python{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment that is whole, and has what `make up` needs."""
    made = tmp_path / ".venv"
    for name, path in {"VENV": made, "PYTHON": made / "bin" / "python", "UV": made / "bin" / "uv"}.items():
        monkeypatch.setattr(venv, name, path)
    monkeypatch.setattr(venv, "STATE", tmp_path / ".state")
    (made / "lib" / HERE).mkdir(parents=True)
    (made / "bin").mkdir()
    venv.PYTHON.symlink_to(sys.executable)
    venv.UV.touch()
    (made / ".run").write_text(venv.digest("run"))
    return made


@pytest.fixture
def emptied(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Which environments are made; each fails, so that nothing is installed."""
    made: list[str] = []

    def make() -> bool:
        with (tmp_path / ".state" / "venv.lock").open("w") as another, pytest.raises(BlockingIOError):
            fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.append("made")
        return False

    monkeypatch.setattr(venv, "make_empty", make)
    return made


def test_nothing_to_do(emptied: list[str]) -> None:
    assert venv.main("run") == 0 and not emptied


@pytest.mark.parametrize("missing", ["bin/python", "bin/uv", f"lib/{HERE}"])
def test_one_that_is_not_whole(folder: Path, emptied: list[str], missing: str) -> None:
    """An interrupted run left it, or the system's Python is another one since: its packages are not found."""
    (folder / missing).rename(folder / "elsewhere")
    assert venv.main("run") == 1 and emptied == ["made"]


def test_waits_for_another_verb(folder: Path, emptied: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other one has installed meanwhile is not installed again."""
    (folder / ".run").unlink()
    monkeypatch.setattr(fcntl, "flock", lambda *_: (folder / ".run").write_text(venv.digest("run")))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it was installed again"))
    assert venv.main("run") == 0 and not emptied


def test_made_by_a_python_that_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Makefile runs this in the environment, which an interrupted run left without uv."""
    ran: list[Path] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(Path(command[0]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(sys, "executable", str(venv.PYTHON))
    monkeypatch.setattr(subprocess, "run", run)
    assert venv.make_empty() and not folder.exists() and all(program.exists() for program in ran)
