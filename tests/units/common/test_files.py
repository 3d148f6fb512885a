"""The sandbox's files are private, whatever the umask."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import files, keys, ownership
from common.config import Config
from common.paths import ROOT


@pytest.fixture(autouse=True, params=[0o022, 0o002, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    """Files and folders that others than their owner can use."""
    return [str(path) for path in (folder, *folder.rglob("*")) if stat.S_IMODE(path.lstat().st_mode) & 0o077]


def test_new_files(tmp_path: Path) -> None:
    state = tmp_path / "state"
    files.make_private(state)
    files.write(state / "one" / "file", "content")
    assert open_to_others(state) == []


def test_what_was_there_before(tmp_path: Path) -> None:
    """Of an earlier version; what a link leads to is left alone."""
    state, outside = tmp_path / "state", tmp_path / "outside"
    (state / "logs").mkdir(parents=True)
    outside.touch()
    for path in (state / "aws.journal", state / "logs" / "server.log", outside):
        path.touch()
        path.chmod(0o644)
    (state / "link").symlink_to(outside)
    ownership.record(Config(name="units", state=state))
    assert [path for path in open_to_others(state) if not Path(path).is_symlink()] == []
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
    assert stat.S_IMODE((state / "aws.journal").stat().st_mode) == 0o600


def test_keys_are_kept_and_differ(tmp_path: Path) -> None:
    assert keys.load(tmp_path / "none") == keys.NONE
    for name in ("one", "two"):
        keys.make(tmp_path / name)
    one, two = keys.load(tmp_path / "one"), keys.load(tmp_path / "two")
    keys.make(tmp_path / "one")
    assert keys.load(tmp_path / "one") == one
    assert not {one.access, one.secret, one.registry, one.metadata} & {
        two.access,
        two.secret,
        two.registry,
        two.metadata,
    }
    assert one.proof("i-1") != one.proof("i-2") != two.proof("i-2")


def test_two_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process writes the same file between our writing and our renaming."""
    path, replace = tmp_path / "file", Path.replace

    def and_the_other(beside: Path, target: Path) -> Path:
        code = "import sys, pathlib; from common import files; files.write(pathlib.Path(sys.argv[1]), 'theirs')"
        subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, check=True)
        assert beside.name.startswith("."), "Ansible would read it as an inventory, if this process were killed now"
        return replace(beside, target)

    monkeypatch.setattr(Path, "replace", and_the_other)
    files.write(path, "ours")
    assert path.read_text() == "ours" and list(tmp_path.iterdir()) == [path]
