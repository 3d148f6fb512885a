"""Packages of Debian's, with the real apt-get: while somebody else holds its locks, and one that there is not."""

from __future__ import annotations

import fcntl
import threading
import time
from pathlib import Path

import pytest

from common import apt
from common.errors import CommandError

# What `apt-get update` and `apt-get install` take first.
LOCKS = (Path("/var/lib/apt/lists/lock"), Path("/var/cache/apt/archives/lock"))
HELD = 3.0


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_waits_for_another_apt_get(path, capsys):
    with path.open("w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        threading.Timer(HELD, fcntl.lockf, (lock, fcntl.LOCK_UN)).start()
        begin = time.monotonic()
        apt.install("hostname")
        assert time.monotonic() - begin >= HELD
    assert capsys.readouterr().out == "  waiting for another apt-get on this machine\n"


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
