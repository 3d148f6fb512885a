"""SQLite: runs each step in a separate process, as the owner of the database's folder."""

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import sqlite_steps
from .settings import BackupError

# A planted file may block a step, but not forever.
SECONDS = 840


class Sqlite:
    """The API's database file. The steps are in ``sqlite_steps.py``."""

    suffix = ".sqlite.gz"

    def __init__(self, file: Path):
        self._file = file

    @property
    def user(self) -> int:
        """The user who may read and write a copy: the owner of the folder.

        Raises:
            BackupError: there is no folder.
        """
        return self._folder().st_uid

    def dump(self, copy: Path) -> None:
        self._step("dump", copy)

    def check(self, copy: Path) -> int:
        return int(self._step("check", copy))

    def forget(self) -> None:
        """Nothing to remove: ``check`` reads the copy itself."""

    def count(self) -> int:
        return int(self._step("count"))

    def name_kept(self) -> str:
        """A new name for the database that a restore replaces."""
        return str(self._file.with_name(f"comentarios-before-{int(time.time())}-{secrets.token_hex(2)}.db"))

    def swap(self, copy: Path, kept: str) -> bool:
        return bool(self._step("swap", copy, kept))

    def swap_back(self, kept: str) -> None:
        self._step("swap_back", kept)

    def _folder(self) -> os.stat_result:
        try:
            return self._file.parent.stat()
        except OSError as error:
            raise BackupError(f"{self._file.parent} cannot be accessed ({error.strerror}): run `make up`") from None

    def _step(self, name: str, *paths: Path | str) -> Any:
        # A new program, not a fork: it has neither our memory (with AWS's keys) nor our open files.
        command = [sys.executable, "-B", "-P", "-S", "-m", sqlite_steps.__name__, name, str(self._file)]
        folder, is_root = self._folder(), os.geteuid() == 0
        try:
            done = subprocess.run(
                [*command, *map(str, paths)],
                user=folder.st_uid if is_root else None,
                group=folder.st_gid if is_root else None,
                extra_groups=[] if is_root else None,
                umask=0o022,
                cwd="/",
                env={"PYTHONPATH": str(Path(__file__).parents[1]), "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise BackupError(f"{self._file}: {name} took longer than {SECONDS} s: check its disk") from None
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
            raise BackupError(said[-1] if done.returncode == 1 else f"{self._file}: {name} failed: {said[-1]}")
        return json.loads(done.stdout)
