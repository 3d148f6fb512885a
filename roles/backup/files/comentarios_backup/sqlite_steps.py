"""What is done to the API's SQLite file: a consistent copy while the API writes, and a copy put in its place.

Run as the user whose folder the database is in, never as root: ``sqlite.py`` sees to that. The API may have put
anything there, a link or a FIFO under any name, any bytes in the database: none of it gets more than that user has.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from .settings import BackupError

COLUMNS = {"id", "content_id", "email", "comment", "created_ms"}
BESIDE = "restoring"
CHUNK = 1 << 20


def dump(file: Path, copy: Path) -> None:
    """Copies the database by SQLite's backup API, in one step: writers go on, and are not in the copy.

    Raises:
        BackupError: there is no database, no room for a copy, or it cannot be read.
    """
    if not _is_there(file):
        raise BackupError(f"{file} is not there: has the API ever started?")
    needed, free = file.stat().st_size, shutil.disk_usage(copy.parent).free
    if free < 2 * needed:
        raise BackupError(f"{copy.parent} has {free} bytes free and a backup needs {2 * needed}: make room")
    try:
        with closing(_connect(file)) as source, closing(sqlite3.connect(copy)) as target:
            source.execute("PRAGMA query_only = ON")
            source.backup(target)
    except sqlite3.Error as error:
        raise BackupError(f"{file} cannot be copied: {error}") from None


def check(file: Path, copy: Path) -> int:
    """Opens a copy and reads all of it; returns how many comments it holds.

    Raises:
        BackupError: it is corrupt, no database of comments, or of a newer schema than the database that is live.
    """
    try:
        with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            (verdict,) = opened.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise BackupError(f"the copy is corrupt: {verdict}")
            columns = {row[1] for row in opened.execute("PRAGMA table_info(comments)")}
            if not columns >= COLUMNS:
                raise BackupError("this is a database of something else: it has no comments as the API keeps them")
            version, comments = _ask(opened, "PRAGMA user_version"), _ask(opened, "SELECT count(*) FROM comments")
    except sqlite3.Error as error:
        raise BackupError(f"the copy cannot be opened: {error}") from None
    if _is_there(file):
        with closing(_connect(file)) as live:
            known = _ask(live, "PRAGMA user_version")
        if version > known:
            raise BackupError(
                f"the copy is of schema {version} and the release that is live knows {known}: release a newer one first"
            )
    return comments


def count(file: Path) -> int:
    """How many comments there are now; 0 where there is no database."""
    if not _is_there(file):
        return 0
    with closing(_connect(file)) as opened:
        return _ask(opened, "SELECT count(*) FROM comments")


def swap(file: Path, copy: Path, kept: Path) -> bool:
    """Puts a copy in the database's place; nothing may have it open. Returns whether there was one, now ``kept``.

    Raises:
        BackupError: the database is in use. Nothing was changed.
    """
    for left in file.parent.glob(f"{BESIDE}*"):
        # A restore that was killed; what is no file of ours stays.
        with suppress(OSError):
            left.unlink()
    # On its file system, so that it takes the place in one step.
    descriptor, name = tempfile.mkstemp(prefix=f"{BESIDE}-", suffix=".db", dir=file.parent)
    beside = Path(name)
    try:
        with copy.open("rb") as source, os.fdopen(descriptor, "wb") as target:
            os.fchmod(target.fileno(), 0o644)
            shutil.copyfileobj(source, target, CHUNK)
        with closing(_connect(beside)) as opened:
            opened.execute("PRAGMA journal_mode = WAL")
        _synchronise(beside)
        _remove_log(beside)
        was_there = _is_there(file)
        if was_there:
            # What is in its log goes into the file, and the log is gone when the last connection closes.
            with closing(_connect(file)) as opened:
                busy = _ask(opened, "PRAGMA wal_checkpoint(TRUNCATE)")
            if busy or Path(f"{file}-wal").exists():
                raise BackupError(f"{file} is still in use: stop what uses it; nothing was changed")
            os.link(file, kept)
        os.replace(beside, file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _synchronise(file.parent)
    return was_there


def swap_back(file: Path, kept: Path) -> None:
    """Undoes ``swap``, wherever it was interrupted: the old database is in its place again."""
    if not kept.exists():
        return
    if file.exists() and kept.samefile(file):
        kept.unlink()
        return
    _remove_log(file)
    os.replace(kept, file)
    _synchronise(file.parent)


def _is_there(file: Path) -> bool:
    """Whether there is a database. SQLite would wait for ever for a FIFO beside it, and follow links."""
    found = False
    for name in ("", "-journal", "-wal", "-shm"):
        path = Path(f"{file}{name}")
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise BackupError(f"{path} is a link, a folder or the like: see who put it there, and remove it")
        found = found or path == file
    return found


def _connect(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=30, isolation_level=None)


def _ask(opened: sqlite3.Connection, statement: str) -> int:
    return int(opened.execute(statement).fetchone()[0])


def _remove_log(file: Path) -> None:
    for name in ("-wal", "-shm"):
        Path(f"{file}{name}").unlink(missing_ok=True)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


STEPS: dict[str, Callable[..., Any]] = {step.__name__: step for step in (dump, check, count, swap, swap_back)}


def main(name: str, *paths: str) -> int:
    """One step: its result as JSON on standard output, or an error as one line on standard error."""
    try:
        print(json.dumps(STEPS[name](*map(Path, paths))))
    except (BackupError, OSError, sqlite3.Error) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
