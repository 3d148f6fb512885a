"""Packages of Debian's, with the real apt-get: while somebody else holds its locks, and one that there is not."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from common import apt
from common.errors import CommandError

# What `apt-get update` and `apt-get install` take first.
LOCKS = (Path("/var/lib/apt/lists/lock"), Path("/var/cache/apt/archives/lock"))


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_waits_for_another_apt_get(path, monkeypatch):
    """It says so once, and goes on when the other one ends."""
    said = []
    with path.open("w") as lock:

        def end(line: str) -> None:
            said.append(line)
            fcntl.lockf(lock, fcntl.LOCK_UN)

        monkeypatch.setattr(apt, "say", end)
        fcntl.lockf(lock, fcntl.LOCK_EX)
        apt.install("hostname")
    assert said == ["  waiting for another apt-get on this machine"]


def test_gives_up_some_time(monkeypatch):
    monkeypatch.setattr(apt, "WAIT_SECONDS", 1)
    with LOCKS[0].open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        with pytest.raises(CommandError, match="^apt-get update: .*[Ll]ock"):
            apt.install("hostname")


def test_unknown_package():
    with pytest.raises(CommandError, match="^apt-get install: .*no-such-package-at-all"):
        apt.install("no-such-package-at-all")


def test_package_that_not_every_release_has():
    """One that is not known is left out."""
    apt.install("hostname", where_known=("no-such-package-at-all",))
