"""SQLite: a consistent copy while the API writes, and a copy put in the database's place."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from .settings import BackupError

COLUMNS = {"id", "content_id", "email", "comment", "created_ms"}


class Sqlite:
    """The API's database file."""

    suffix = ".sqlite.gz"

    def __init__(self, file: Path):
        self._file = file

    def dump(self, copy: Path) -> None:
        """Copies the database by SQLite's backup API, in one step: writers go on, and are not in the copy.

        Raises:
            BackupError: there is no database, no room for a copy, or it cannot be read.
        """
        if not self._file.exists():
            raise BackupError(f"{self._file} is not there: has the API ever started?")
        needed, free = self._file.stat().st_size, shutil.disk_usage(copy.parent).free
        if free < 2 * needed:
            raise BackupError(f"{copy.parent} has {free} bytes free and a backup needs {2 * needed}: make room")
        try:
            with closing(_connect(self._file)) as source, closing(sqlite3.connect(copy)) as target:
                source.execute("PRAGMA query_only = ON")
                source.backup(target)
        except sqlite3.Error as error:
            raise BackupError(f"{self._file} cannot be copied: {error}") from None

    def check(self, copy: Path) -> int:
        """Opens a copy and reads all of it; returns how many comments it holds.

        Raises:
            BackupError: it is corrupt, or no database of comments.
        """
        try:
            with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
                (verdict,) = opened.execute("PRAGMA integrity_check(1)").fetchone()
                if verdict != "ok":
                    raise BackupError(f"the copy is corrupt: {verdict}")
                columns = {row[1] for row in opened.execute("PRAGMA table_info(comments)")}
                if not columns >= COLUMNS:
                    raise BackupError("this is a database of something else: it has no comments as the API keeps them")
                (version,) = opened.execute("PRAGMA user_version").fetchone()
                (count,) = opened.execute("SELECT count(*) FROM comments").fetchone()
        except sqlite3.Error as error:
            raise BackupError(f"the copy cannot be opened: {error}") from None
        known = self._version()
        if known is not None and version > known:
            raise BackupError(
                f"the copy is of schema {version} and the release that is live knows {known}: release a newer one first"
            )
        return count

    def forget(self) -> None:
        """What ``check`` reads is the copy itself: it leaves nothing."""

    def count(self) -> int:
        """How many comments there are now; 0 where there is no database."""
        if not self._file.exists():
            return 0
        with closing(_connect(self._file)) as opened:
            return opened.execute("SELECT count(*) FROM comments").fetchone()[0]

    def swap(self, copy: Path) -> str:
        """Puts a copy in the database's place; nothing may have it open. Returns where the old one is kept."""
        folder = self._file.parent
        owner = folder.stat()
        beside, kept = folder / "restoring.db", self._file.with_name(f"comentarios-before-{int(time.time())}.db")
        # On its file system, so that it takes the place in one step.
        shutil.copyfile(copy, beside)
        os.chown(beside, owner.st_uid, owner.st_gid)
        os.chmod(beside, 0o644)
        with closing(sqlite3.connect(beside)) as opened:
            opened.execute("PRAGMA journal_mode = WAL")
        _synchronise(beside)
        for name in ("-wal", "-shm"):
            Path(f"{beside}{name}").unlink(missing_ok=True)
        if self._file.exists():
            # What is in its log goes into the file, and the log is gone when the last connection closes.
            with closing(_connect(self._file)) as opened:
                busy, *_ = opened.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if busy or Path(f"{self._file}-wal").exists():
                beside.unlink()
                raise BackupError(f"{self._file} is still in use: stop what uses it; nothing was changed")
            os.link(self._file, kept)
        os.replace(beside, self._file)
        _synchronise(folder)
        return str(kept) if kept.exists() else ""

    def swap_back(self, kept: str) -> None:
        """Undoes ``swap``: the old database is in its place again."""
        for name in ("-wal", "-shm"):
            Path(f"{self._file}{name}").unlink(missing_ok=True)
        os.replace(kept, self._file)

    def _version(self) -> int | None:
        if not self._file.exists():
            return None
        with closing(_connect(self._file)) as opened:
            return opened.execute("PRAGMA user_version").fetchone()[0]


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=30, isolation_level=None)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
