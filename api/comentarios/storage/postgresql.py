"""PostgreSQL: for several hosts that share one database."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg_pool import ConnectionPool

from .base import Engine, NewComment, StorageFull, StorageUnavailable
from .moderation import Run

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE comments (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            content_id text NOT NULL,
            email text NOT NULL,
            comment text NOT NULL,
            created_ms bigint NOT NULL
        )""",
        "CREATE INDEX comments_by_content ON comments (content_id, id)",
        "CREATE TABLE heartbeat (one int PRIMARY KEY CHECK (one = 1), at_ms bigint NOT NULL)",
    ),
    (
        # A restore may have brought it along. An entry's id is its time in milliseconds.
        """CREATE TABLE IF NOT EXISTS audit (
            id bigint PRIMARY KEY,
            who text NOT NULL,
            action text NOT NULL,
            subject text NOT NULL,
            comments bigint NOT NULL,
            why text NOT NULL,
            done_ms bigint NOT NULL
        )""",
        "CREATE INDEX IF NOT EXISTS audit_by_done ON audit (done_ms)",
    ),
)

SLICE = """SELECT convert_to(
    string_agg('{"email":' || to_json(email)::text || ',"comment":' || to_json(comment)::text || '}', ',' ORDER BY id),
    'UTF8'), count(*), max(id), (array_agg(created_ms ORDER BY id DESC))[1],
    (SELECT coalesce(max(done_ms), 0) FROM audit)
FROM (
    SELECT id, email, comment, created_ms FROM comments WHERE content_id = %s AND id > %s ORDER BY id LIMIT %s
) AS slice"""
NEWEST = """SELECT max(id), max(created_ms), (SELECT coalesce(max(done_ms), 0) FROM audit)
FROM (SELECT id, created_ms FROM comments WHERE content_id = %s ORDER BY id DESC LIMIT 1) AS newest"""
INSERT = "INSERT INTO comments (content_id, email, comment, created_ms) VALUES (%s, %s, %s, %s)"
BEAT = "INSERT INTO heartbeat VALUES (1, %s) ON CONFLICT (one) DO UPDATE SET at_ms = excluded.at_ms"

MIGRATION_LOCK = 7_304_001
# Ids are assigned before the commit. With several writers, a reader could page past an id that is not yet visible and
# never see it.
WRITE_LOCK = 7_304_002


def connection_options(seconds: int) -> dict[str, Any]:
    """libpq's options that end a connection to a machine that is down after this number of seconds.

    By itself, TCP notices only unsent data. Keepalives also work while it waits for a reply.
    """
    timeouts = {"connect_timeout": seconds, "tcp_user_timeout": seconds * 1000}
    return timeouts | {"keepalives_idle": 1, "keepalives_interval": 1}


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise StorageFull(_line(error)) from error
    except psycopg.Error as error:
        raise StorageUnavailable(_line(error)) from error


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _query(sql: str) -> bytes:
    """psycopg's form of moderation's SQL."""
    return sql.replace("?", "%s").encode()


class PostgresqlEngine(Engine):
    """`url`: for libpq. `connect_seconds`: timeout of a connection and of a statement."""

    slice_query, newest_query = SLICE, NEWEST

    def __init__(self, url: str, connect_seconds: float):
        self._seconds = connect_seconds
        self._pool = ConnectionPool(
            url,
            min_size=1,
            max_size=8,
            timeout=connect_seconds,
            reconnect_timeout=connect_seconds,
            open=False,
            configure=self._configure,
            kwargs={"autocommit": True, **connection_options(max(1, round(connect_seconds)))},
        )

    def migrate(self) -> None:
        with self._connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version int NOT NULL)")
            row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
            version: int = (row and row[0]) or 0
            for number, statements in enumerate(MIGRATIONS[version:], version + 1):
                for statement in statements:
                    connection.execute(statement)
                connection.execute("INSERT INTO schema_version VALUES (%s)", (number,))

    def write(self, comments: Sequence[NewComment]) -> None:
        with self._connection() as connection, connection.transaction():
            if comments:
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))
                with connection.cursor() as cursor:
                    cursor.executemany(INSERT, comments)
            else:
                connection.execute(BEAT, (time.time_ns() // 1_000_000,))

    def size_bytes(self) -> int:
        size: int = self._row("SELECT pg_database_size(current_database())", ())[0]
        return size

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._connection() as connection:
            return connection.execute(_query(sql), values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[Run]:
        with self._connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))

            def run(sql: str, *values: object) -> list[tuple[Any, ...]]:
                cursor = connection.execute(_query(sql), values)
                return cursor.fetchall() if cursor.description else []

            yield run

    def scrub(self) -> None:
        """Free the rows' old versions. Reads and writes continue."""
        with self._connection() as connection:
            connection.execute("SET statement_timeout = 0")
            try:
                connection.execute("VACUUM comments, audit")
            finally:
                self._configure(connection)

    def kept(self) -> list[str]:
        names = self.rows("SELECT datname, current_database() FROM pg_database ORDER BY datname")
        return [name for name, own in names if name.startswith(f"{own}_before_")]

    def close(self) -> None:
        self._pool.close()

    def _row(self, sql: LiteralString, values: tuple[str | int, ...]) -> tuple[Any, ...]:
        """In binary format: as text, bytes need twice the space."""
        with self._connection() as connection:
            row = connection.execute(sql, values, binary=True).fetchone()
        assert row is not None
        return row

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection]:
        with _translated():
            # At the first use: its threads must not exist before the server forks.
            self._pool.open()
            with self._pool.connection() as connection:
                yield connection

    def _configure(self, connection: psycopg.Connection) -> None:
        connection.execute(f"SET statement_timeout = {round(self._seconds * 1000)}")
