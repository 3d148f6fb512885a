"""The lock of a host: one process holds it; others fail with its name, or wait."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from comentarios_release import lock
from comentarios_release.settings import ReleaseError

HOLDER = """
import pathlib, sys, time
from comentarios_release import lock
with lock.hold(pathlib.Path(sys.argv[1]), "ana@laptop"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_is_refused_by_name(folder: Path) -> None:
    refusal = r"^ana@laptop has been working on this host since \d\d:\d\d:\d\d UTC: wait until that has ended$"
    with lock.hold(folder, "ana@laptop"), pytest.raises(ReleaseError, match=refusal), lock.hold(folder, "rui"):
        raise AssertionError("two hold it")
    with lock.hold(folder, "rui"):
        pass


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}"])
def test_name_that_is_not_there_yet(folder: Path, text: str) -> None:
    with lock.hold(folder, "ana"):
        (folder / "lock").write_text(text)
        with pytest.raises(ReleaseError, match="^somebody else is working on this host: w"), lock.hold(folder, "rui"):
            raise AssertionError("two hold it")


def test_block_that_fails_gives_it_back(folder: Path) -> None:
    with pytest.raises(KeyError), lock.hold(folder / "new", "ana"):
        raise KeyError
    with lock.hold(folder / "new", "rui", wait=True):
        pass


def test_holder_that_is_killed_gives_it_back(folder: Path) -> None:
    path = Path(lock.__file__).parents[1]
    command = [sys.executable, "-S", "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={"PYTHONPATH": str(path)}) as holder:
        assert holder.stdout and holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(ReleaseError, match="ana@laptop has been working on this host since"),
            lock.hold(folder, "rui"),
        ):
            raise AssertionError("two hold it")
        holder.kill()
        with lock.hold(folder, "rui", wait=True):
            pass
