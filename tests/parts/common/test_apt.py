"""Installing packages with the real apt-get: while another process holds its locks, and a missing package.

apt's folders are the test's own, and its lists are empty: reading all of Debian's takes a second for each command.
"""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from common import apt
from common.errors import CommandError

SETTINGS = """
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "{folder}/lists";
Dir::Cache "{folder}";
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("lists", "archives"):
        (tmp_path / name / "partial").mkdir(parents=True)
    (tmp_path / "apt.conf").write_text(SETTINGS.format(folder=tmp_path))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    return tmp_path


# What `apt-get update` and `apt-get install` lock first.
@pytest.mark.parametrize("locked", ["lists", "archives"])
def test_waits_for_another_apt_get(locked, folder, monkeypatch):
    """It says so once, and goes on when the other one ends."""
    said = []
    with (folder / locked / "lock").open("w") as lock:

        def end(line: str) -> None:
            said.append(line)
            fcntl.lockf(lock, fcntl.LOCK_UN)

        monkeypatch.setattr(apt, "say", end)
        fcntl.lockf(lock, fcntl.LOCK_EX)
        apt.install("hostname")
    assert said == ["  waiting for another apt-get on this machine"]


def test_gives_up_some_time(folder, monkeypatch):
    monkeypatch.setattr(apt, "WAIT_SECONDS", 1)
    with (folder / "lists" / "lock").open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        with pytest.raises(CommandError, match="^apt-get update: .*[Ll]ock"):
            apt.install("hostname")


def test_unknown_package():
    with pytest.raises(CommandError, match="^apt-get install: .*no-such-package-at-all"):
        apt.install("no-such-package-at-all")


def test_package_that_not_every_release_has():
    """One that is not known is left out."""
    apt.install("hostname", where_known=("no-such-package-at-all",))
