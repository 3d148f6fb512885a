"""PostgreSQL: for several hosts that share one database."""

import threading
import time
from collections.abc import Sequence
from contextlib import contextmanager

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from .base import NewComment, Page, StorageFull, StorageUnavailable

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
)

PAGE = """SELECT string_agg('{"email":' || to_json(email)::text || ',"comment":' || to_json(comment)::text || '}',
                  ',' ORDER BY id), count(*), max(id)
FROM (SELECT id, email, comment FROM comments
      WHERE content_id = %s AND id > %s AND id <= %s ORDER BY id LIMIT %s) AS page"""
NTH = "SELECT id FROM comments WHERE content_id = %s AND id > %s ORDER BY id LIMIT 1 OFFSET %s"
LAST = "SELECT max(id) FROM comments WHERE content_id = %s"
INSERT = "INSERT INTO comments (content_id, email, comment, created_ms) VALUES (%s, %s, %s, %s)"
BEAT = "INSERT INTO heartbeat VALUES (1, %s) ON CONFLICT (one) DO UPDATE SET at_ms = excluded.at_ms"
NO_BOUND = 2**63 - 1

MIGRATION_LOCK = 7_304_001
# Ids are given out before a commit: without one writer at a time, a reader could page past an id that is still
# to appear, and never see it.
WRITE_LOCK = 7_304_002


@contextmanager
def _translated():
    try:
        yield
    except psycopg.errors.DiskFull as error:
        raise StorageFull(_line(error)) from error
    except (psycopg.Error, PoolTimeout) as error:
        raise StorageUnavailable(_line(error)) from error


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


class PostgresqlEngine:
    """`url` as libpq takes it; `connect_seconds` bounds the wait for a connection and for a statement."""

    def __init__(self, url: str, connect_seconds: float):
        self._url = url
        self._seconds = connect_seconds
        self._pool: ConnectionPool | None = None
        self._opening = threading.Lock()

    def migrate(self) -> None:
        with self._connection() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
            connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version int NOT NULL)")
            row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
            version = row[0] or 0
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

    def page(self, content_id: str, after: int, upto: int | None, limit: int) -> Page:
        bound = NO_BOUND if upto is None else upto
        items, count, last = self._row(PAGE, (content_id, after, bound, limit))
        return Page(items or "", count, last)

    def nth_id(self, content_id: str, after: int, n: int) -> int | None:
        row = self._row(NTH, (content_id, after, n - 1))
        return row and row[0]

    def last_id(self, content_id: str) -> int | None:
        return self._row(LAST, (content_id,))[0]

    def read(self) -> None:
        self._row("SELECT max(id) FROM comments", ())

    def size_bytes(self) -> int:
        return self._row("SELECT pg_database_size(current_database())", ())[0]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.close()

    def _row(self, sql: str, values: tuple) -> tuple | None:
        with self._connection() as connection:
            return connection.execute(sql, values).fetchone()

    @contextmanager
    def _connection(self):
        with _translated(), self._open_pool().connection() as connection:
            yield connection

    def _open_pool(self) -> ConnectionPool:
        """Opened with the first use: its threads must not exist before a server forks."""
        if self._pool is None:
            with self._opening:
                if self._pool is None:
                    seconds = max(1, round(self._seconds))
                    self._pool = ConnectionPool(
                        self._url,
                        min_size=1,
                        max_size=8,
                        timeout=self._seconds,
                        reconnect_timeout=self._seconds,
                        open=True,
                        configure=self._configure,
                        kwargs={
                            "autocommit": True,
                            "connect_timeout": seconds,
                            "tcp_user_timeout": seconds * 1000,
                        },
                    )
        return self._pool

    def _configure(self, connection: psycopg.Connection) -> None:
        connection.execute(f"SET statement_timeout = {round(self._seconds * 1000)}")
