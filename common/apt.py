"""Installs Debian's packages, as root on Debian or Ubuntu.

It uses the standard library only, since it runs before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time

from common.errors import CommandError, last_line
from common.progress import say

# A new machine updates itself at boot, and our own steps run in parallel.
WAIT_SECONDS = 300
LOCKED = ("Could not get lock", "Unable to lock", "Unable to acquire the dpkg frontend lock")


def may_install() -> bool:
    """Whether this process may install packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str, where_known: tuple[str, ...] = ()) -> None:
    """Installs packages without their recommendations; waits while another process holds apt's locks.

    Args:
        where_known: packages that only some releases of the distribution have.

    Raises:
        CommandError: this process may not install packages, or apt-get failed.
    """
    if not may_install():
        raise CommandError(f"run `apt-get install {' '.join(packages)}` as root")
    deadline = time.monotonic() + WAIT_SECONDS
    _run(["update"], deadline)
    # After the update: a new machine has no package lists.
    known = [package for package in where_known if _known(package)]
    _run(["install", "-y", "--no-install-recommends", *packages, *known], deadline)


def _known(package: str) -> bool:
    return bool(subprocess.run(["apt-cache", "show", package], capture_output=True, check=False).stdout)


def _run(command: list[str], deadline: float) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    told = False
    while True:
        done = subprocess.run(
            ["apt-get", "-qq", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            # Files of packages are public, whatever our own umask.
            umask=0o022,
        )
        if done.returncode == 0:
            return
        if not any(text in done.stderr for text in LOCKED) or time.monotonic() > deadline:
            raise CommandError(f"apt-get {command[0]}: {last_line(done.stderr)}")
        if not told:
            say("  waiting for another apt-get on this machine")
            told = True
        time.sleep(1)
