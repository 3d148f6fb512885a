"""Steps on the API's SQLite file: make a consistent copy while the API writes, and replace the file by a copy.

``sqlite.py`` runs them as the owner of the database's folder, never as root. The API may have put anything there:
links, FIFOs, any bytes in the database. So nothing there can use more rights than that user has.
"""

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
# Columns of the audit log (api/comentarios/storage). done_ms, the last one, is 0 until the entry is done.
CARRIED = """INSERT OR IGNORE INTO main.audit (id, who, action, subject, comments, why, done_ms)
SELECT id, who, action, subject, 0, why, 0 FROM live.audit"""
CHUNK = 1 << 20


def dump(file: Path, copy: Path) -> None:
    """Copies the database with SQLite's backup API, in one step. Writers continue; their changes are not in the copy.

    Raises:
        BackupError: there is no database or no space, or the database cannot be read.
    """
    if not _is_there(file):
        raise BackupError(f"{file} does not exist: the API has never started")
    needed, free = file.stat().st_size, shutil.disk_usage(copy.parent).free
    if free < 2 * needed:
        raise BackupError(f"{copy.parent} has {free} bytes free, but a backup needs {2 * needed}: free some space")
    try:
        with closing(_connect(file)) as source, closing(sqlite3.connect(copy)) as target:
            source.execute("PRAGMA query_only = ON")
            source.backup(target)
    except sqlite3.Error as error:
        raise BackupError(f"{file} cannot be copied: {error}") from None


def check(file: Path, copy: Path) -> int:
    """Opens a copy and reads all of it; returns its number of comments.

    Raises:
        BackupError: it is corrupt, not a database of comments, or has a newer schema than the live database.
    """
    try:
        with closing(sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True)) as opened:
            (verdict,) = opened.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise BackupError(f"the copy is corrupt: {verdict}")
            columns = {row[1] for row in opened.execute("PRAGMA table_info(comments)")}
            if not columns >= COLUMNS:
                raise BackupError("this is another kind of database: it has no table of comments like the API's")
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
    """The current number of comments; 0 without a database."""
    if not _is_there(file):
        return 0
    with closing(_connect(file)) as opened:
        return _ask(opened, "SELECT count(*) FROM comments")


def swap(file: Path, copy: Path, kept: Path) -> bool:
    """Replaces the database, which must be closed, by a copy. Returns whether there was one; it is now ``kept``.

    Raises:
        BackupError: the database is in use; nothing was changed.
    """
    for left in file.parent.glob(f"{BESIDE}*"):
        # The leftover of a killed restore; other files stay.
        with suppress(OSError):
            left.unlink()
    # On the same file system, so that it can be renamed.
    descriptor, name = tempfile.mkstemp(prefix=f"{BESIDE}-", suffix=".db", dir=file.parent)
    beside = Path(name)
    try:
        with copy.open("rb") as source, os.fdopen(descriptor, "wb") as target:
            os.fchmod(target.fileno(), 0o644)
            shutil.copyfileobj(source, target, CHUNK)
        was_there = _is_there(file)
        with closing(_connect(beside)) as opened:
            opened.execute("PRAGMA journal_mode = WAL")
            if was_there:
                _carry_over(file, opened)
        _synchronise(beside)
        _remove_log(beside)
        if was_there:
            # Writes its log into the file; the log is removed when the last connection closes.
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


def _carry_over(file: Path, copy: sqlite3.Connection) -> None:
    """Adds the audit log's entries that the copy lacks. The API applies them before it serves."""
    copy.execute("ATTACH ? AS live", (str(file),))
    made = "SELECT sql FROM {}.sqlite_master WHERE type = 'table' AND name = 'audit'"
    if found := copy.execute(made.format("live")).fetchone():
        if not copy.execute(made.format("main")).fetchone():
            copy.execute(found[0])
        copy.execute(CARRIED)


def swap_back(file: Path, kept: Path) -> None:
    """Undoes ``swap``, even an interrupted one: puts the old database back."""
    if not kept.exists():
        return
    if file.exists() and kept.samefile(file):
        kept.unlink()
        return
    _remove_log(file)
    os.replace(kept, file)
    _synchronise(file.parent)


def _is_there(file: Path) -> bool:
    """Whether there is a database. Refuses FIFOs, on which SQLite would block, and links, which it would follow."""
    found = False
    for name in ("", "-journal", "-wal", "-shm"):
        path = Path(f"{file}{name}")
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise BackupError(f"{path} is not a regular file: find out who created it, and remove it")
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
    """Runs a step; prints its result as JSON, or an error as one line on standard error."""
    try:
        print(json.dumps(STEPS[name](*map(Path, paths))))
    except (BackupError, OSError, sqlite3.Error) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
