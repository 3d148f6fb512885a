"""SQLite: a file on a volume, shared by every replica of the host."""

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from .base import Engine, NewComment, StorageFull, StorageUnavailable
from .moderation import Run

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE comments (
            id INTEGER PRIMARY KEY,
            content_id TEXT NOT NULL,
            email TEXT NOT NULL,
            comment TEXT NOT NULL,
            created_ms INTEGER NOT NULL
        )""",
        # The index ends with the rowid, which is the id, so a page is one range.
        "CREATE INDEX comments_by_content ON comments (content_id)",
        "CREATE TABLE heartbeat (one INTEGER PRIMARY KEY CHECK (one = 1), at_ms INTEGER NOT NULL)",
    ),
    (
        # A restore may have brought it along. An entry's id is its time in milliseconds.
        """CREATE TABLE IF NOT EXISTS audit (
            id INTEGER PRIMARY KEY,
            who TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            comments INTEGER NOT NULL,
            why TEXT NOT NULL,
            done_ms INTEGER NOT NULL
        )""",
        "CREATE INDEX IF NOT EXISTS audit_by_done ON audit (done_ms)",
    ),
)

# A BLOB, because Python would decode text that we would encode again. With max(), SQLite takes the other columns from
# the same row.
SLICE = """SELECT CAST(group_concat(json_object('email', email, 'comment', comment), ',') AS BLOB), count(*), max(id),
    created_ms, (SELECT coalesce(max(done_ms), 0) FROM audit)
FROM (SELECT id, email, comment, created_ms FROM comments WHERE content_id = ? AND id > ? ORDER BY id LIMIT ?)"""
NEWEST = "SELECT max(id), created_ms, (SELECT coalesce(max(done_ms), 0) FROM audit) FROM comments WHERE content_id = ?"
INSERT = "INSERT INTO comments (content_id, email, comment, created_ms) VALUES (?, ?, ?, ?)"
BEAT = "INSERT INTO heartbeat VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET at_ms = excluded.at_ms"
# Seconds between two attempts to get the write lock; about the time of a commit.
BUSY_PAUSE = 0.0005
# The longest that `scrub` keeps others from writing at a time, in milliseconds.
SCRUB_MS = 200


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _storage_error(error) from error


def _storage_error(error: sqlite3.Error) -> Exception:
    name = getattr(error, "sqlite_errorname", "") or type(error).__name__
    kind = StorageFull if name == "SQLITE_FULL" else StorageUnavailable
    return kind(f"{name}: {error}")


def begin(connection: sqlite3.Connection, seconds: float) -> None:
    """Begin a transaction with the write lock; wait for other processes.

    Here rather than half-way, where waiting cannot help.
    """
    wait_for_lock(connection, "BEGIN IMMEDIATE", seconds)


def wait_for_lock(connection: sqlite3.Connection, statement: str, seconds: float) -> None:
    """Execute a statement that needs the write lock; ask for it often.

    SQLite's own waiting sleeps up to 100 ms at a time and loses again and again to a replica that writes without a
    pause. For a change of the journal's mode, it does not wait at all.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute(statement)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(BUSY_PAUSE)


class SqliteEngine(Engine):
    """`path`: the database file, whose folder must exist. `busy_seconds`: timeout of its write lock."""

    slice_query, newest_query = SLICE, NEWEST

    def __init__(self, path: str, busy_seconds: float):
        self._path = path
        self._busy_seconds = busy_seconds
        self._readers: list[sqlite3.Connection] = []
        self._writer: sqlite3.Connection | None = None

    def migrate(self) -> None:
        with _translated():
            connection = self._connect()
            try:
                # Persistent. Readers in all processes continue during a write.
                wait_for_lock(connection, "PRAGMA journal_mode = WAL", self._busy_seconds)
                begin(connection, self._busy_seconds)
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                for number, statements in enumerate(MIGRATIONS[version:], version + 1):
                    for statement in statements:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {number}")
                connection.execute("COMMIT")
            finally:
                connection.close()

    def write(self, comments: Sequence[NewComment]) -> None:
        with _translated():
            if self._writer is None:
                self._writer = self._connect()
                # `begin` waits instead.
                self._writer.execute("PRAGMA busy_timeout = 0")
            connection = self._writer
            try:
                begin(connection, self._busy_seconds)
                if comments:
                    connection.executemany(INSERT, comments)
                else:
                    connection.execute(BEAT, (time.time_ns() // 1_000_000,))
                connection.execute("COMMIT")
            except BaseException:
                self._writer = None
                connection.close()
                raise

    def size_bytes(self) -> int:
        total = 0
        for suffix in ("", "-wal"):
            try:
                total += os.stat(self._path + suffix).st_size
            except FileNotFoundError:
                continue
        return total

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with _translated(), closing(self._connect()) as connection:
            return connection.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        with _translated(), closing(self._connect()) as connection:
            connection.execute("PRAGMA busy_timeout = 0")
            begin(connection, self._busy_seconds)
            yield lambda sql, *values: connection.execute(sql, values).fetchall()
            connection.execute("COMMIT")

    def scrub(self) -> None:
        """Empty the write-ahead log, which still has the old pages. It waits for readers, such as a backup."""
        deadline = time.monotonic() + self._busy_seconds
        with _translated(), closing(self._connect()) as connection:
            connection.execute(f"PRAGMA busy_timeout = {SCRUB_MS}")
            while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > deadline:
                    raise StorageUnavailable("what was erased is still in SQLite's log, which is being read: try again")
                time.sleep(SCRUB_MS / 1000)

    def kept(self) -> list[str]:
        return sorted(path.name for path in Path(self._path).parent.glob("*-before-*.db"))

    def close(self) -> None:
        for connection in [*self._readers, self._writer]:
            if connection is not None:
                connection.close()

    def _row(self, sql: str, values: tuple[str | int, ...]) -> tuple[Any, ...]:
        try:
            try:
                connection = self._readers.pop()
            except IndexError:
                connection = self._connect()
            row: tuple[Any, ...] = connection.execute(sql, values).fetchone()
        except sqlite3.Error as error:
            raise _storage_error(error) from error
        self._readers.append(connection)
        return row

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        # FULL: each commit is synced before it is acknowledged. With NORMAL, the last ones may be lost.
        connection.execute("PRAGMA synchronous = FULL")
        # Erased data is overwritten with zeros, also when a page is rebuilt.
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA cache_size = -1024")
        return connection
