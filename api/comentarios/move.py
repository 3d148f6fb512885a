"""Move the comments to another database while the API serves: `python -m comentarios.move copy` and `finish`.

FROM and TO (or FROM_FILE and TO_FILE) name the databases, like DATABASE_URL, which is the default of both.
`comentarios-release` on the host runs the steps and answers each line that they print with a line. Without an answer, a
step ends.

- `copy` makes the target equal to the source, while both are in use. A rerun continues.
- `finish` compares every row, prints `hold` and waits. Then it locks the source, copies and compares the latest rows,
  and seals the source: from then on, it refuses every write.
- `undo` undoes a move, even a finished one: it copies the target's new rows back.

Ids and times stay the same, and so do the order and all cursors.
"""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from uuid import uuid4

import psycopg

from .config import ConfigError, Settings, secret
from .storage import StorageError, open_storage
from .storage.postgresql import connection_options
from .storage.sqlite import begin

# Comments of one batch: 40 MiB of the longest ones, in the characters that need the most memory.
BATCH = 1000
# For a connection, and for a lock.
SECONDS = 3
# With the source locked. The edge holds writes a little longer.
LOCKED_SECONDS = 4.0
# How long changes and deletions stay refused if this program is killed.
FROZEN_SECONDS = 1800
PAUSE = 1.0
LAST = 2**63 - 1
COMMENTS = "comments"
# Tables that each database has for itself.
OWN = {"heartbeat", "schema_version", "moved"}
EVENTS = ("INSERT", "UPDATE", "DELETE")
# The beginnings of the fences' names. PostgreSQL asks them in alphabetical order, and the last word is the seal's.
SEALED, FROZEN = "sealed_", "unchanged_"

Row = tuple[Any, ...]


class MoveError(Exception):
    """What cannot be moved, and what to do."""


class Database:
    """One of the two databases, by one connection that commits each statement by itself.

    A fence is a trigger that refuses an event on a table, for every version of the API and every other client.
    """

    kind: str
    mark: str

    def __init__(self, connection: Any):
        self.connection = connection
        with self.transaction():
            self.run("CREATE TABLE IF NOT EXISTS moved (one int PRIMARY KEY CHECK (one = 1), site text NOT NULL)")

    def run(self, statement: str, *values: object) -> Any:
        return self.connection.execute(statement, values)

    def ask(self, statement: str, *values: object) -> list[Row]:
        found: list[Row] = self.run(statement, *values).fetchall()
        return found

    def one(self, statement: str, *values: object) -> Any:
        return self.ask(statement, *values)[0][0]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.begin()
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            self.run("ROLLBACK")
            raise

    def identity(self) -> str:
        """Identifies this database."""
        raise NotImplementedError

    def begin(self) -> None:
        raise NotImplementedError

    def lock(self) -> None:
        """Block other writers until the transaction ends."""

    def columns(self) -> list[Row]:
        """Every table and column, in order, and whether it is in the primary key."""
        raise NotImplementedError

    def tables(self) -> dict[str, tuple[str, ...]]:
        """The columns of each table to move, the key first.

        Raises:
            MoveError: a table has no key of one column to go by.
        """
        found: dict[str, tuple[str, ...]] = {}
        for table, column, is_key in self.columns():
            if table not in OWN:
                if bool(is_key) == (table in found):
                    raise MoveError(f"the key of table {table} is not its first column: this release cannot move it")
                found[table] = (*found.get(table, ()), column)
        return found

    def rows(self, table: str, columns: Sequence[str], after: int, last: int, limit: int) -> list[Row]:
        key = columns[0]
        span = f"{key} > {self.mark} AND {key} <= {self.mark} ORDER BY {key} LIMIT {self.mark}"
        return self.ask(f"SELECT {', '.join(columns)} FROM {table} WHERE {span}", after, last, limit)

    def count(self, table: str) -> int:
        return int(self.one(f"SELECT count(*) FROM {table}"))

    def replace(self, table: str, columns: Sequence[str], after: int, last: int, rows: Sequence[Row]) -> None:
        """Replace all rows with a key above `after`, up to `last`. Fences stay."""
        with self.transaction():
            fences = self.open()
            key = columns[0]
            self.run(f"DELETE FROM {table} WHERE {key} > {self.mark} AND {key} <= {self.mark}", after, last)
            self.insert(table, columns, rows)
            for fence in fences:
                self.run(fence)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        raise NotImplementedError

    def give_out_above(self, table: str, key: str) -> None:
        """Make the next key larger than all existing ones."""

    def analyze(self) -> None:
        """Update the planner's statistics, for the new rows."""

    @property
    def site(self) -> str:
        """An id that the databases of one site share after their first move; empty before."""
        found = self.ask("SELECT site FROM moved")
        return str(found[0][0]) if found else ""

    def belong_to(self, site: str) -> None:
        with self.transaction():
            self.run(
                f"INSERT INTO moved VALUES (1, {self.mark}) ON CONFLICT (one) DO UPDATE SET site = excluded.site", site
            )

    def fences(self) -> list[Row]:
        """Of each fence its name, and the statements that drop and create it."""
        raise NotImplementedError

    def fence(self, kind: str, table: str, event: str, until: int, reason: str) -> None:
        """Refuse an event on a table until a time. kind: the beginning of the trigger's name."""
        raise NotImplementedError

    @property
    def sealed(self) -> bool:
        return f"sealed_{COMMENTS}_insert" in [name for name, *_ in self.fences()]

    def open(self) -> list[str]:
        """Take all fences away; returns the statements that put them back."""
        fences = self.fences()
        for _, drop, _ in fences:
            self.run(drop)
        return [create for *_, create in fences]

    def freeze(self) -> None:
        """Refuse changes and deletions for a while; comments may still be added."""
        self.open()
        until, reason = int(time.time()) + FROZEN_SECONDS, "the comments are being moved: try again later"
        for table in self.tables():
            for event in EVENTS[1:] if table == COMMENTS else EVENTS:
                self.fence(FROZEN, table, event, until, reason)

    def seal(self, to: str) -> None:
        """Refuse every write. What `freeze` made stays: to drop a trigger, PostgreSQL would lock readers out."""
        reason = f"the comments were moved to {to} on {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}"
        for table in self.tables():
            for event in EVENTS:
                self.fence(SEALED, table, event, LAST, reason)


class Sqlite(Database):
    kind, mark = "SQLite", "?"

    def __init__(self, settings: Settings):
        self._path = settings.sqlite_path
        # `begin` waits instead: every write here is in a transaction.
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        super().__init__(connection)

    def identity(self) -> str:
        return os.path.realpath(self._path)

    def begin(self) -> None:
        begin(self.connection, SECONDS)

    def columns(self) -> list[Row]:
        return self.ask(
            "SELECT t.name, c.name, c.pk FROM sqlite_schema t, pragma_table_info(t.name) c "
            "WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite%' ORDER BY t.name, c.cid"
        )

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        places = ", ".join("?" for _ in columns)
        self.connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)

    def fences(self) -> list[Row]:
        return self.ask(
            "SELECT name, 'DROP TRIGGER ' || name, sql FROM sqlite_schema "
            f"WHERE type = 'trigger' AND (name GLOB '{FROZEN}*' OR name GLOB '{SEALED}*')"
        )

    def fence(self, kind: str, table: str, event: str, until: int, reason: str) -> None:
        self.run(
            f"CREATE TRIGGER {kind}{table}_{event.lower()} BEFORE {event} ON {table} "
            f"WHEN CAST(strftime('%s', 'now') AS INTEGER) < {until} BEGIN SELECT RAISE(ABORT, '{reason}'); END"
        )


class Postgresql(Database):
    kind, mark = "PostgreSQL", "%s"

    def __init__(self, settings: Settings):
        connection: Any = psycopg.connect(settings.database_url, autocommit=True, **connection_options(SECONDS))
        # A batch may take long on a slow server; a lock must not.
        connection.execute(f"SET statement_timeout = '60s'; SET lock_timeout = '{SECONDS}s'")
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise MoveError(f"the PostgreSQL database has the encoding {encoding}: create one with ENCODING 'UTF8'")
        super().__init__(connection)

    def run(self, statement: str, *values: object) -> Any:
        # Without values, a percent sign is one.
        return self.connection.execute(statement, values or None)

    def identity(self) -> str:
        # No superuser is needed to ask for these.
        server = "pg_postmaster_start_time(), current_setting('port'), current_schema()"
        return str(self.ask(f"SELECT {server}, oid FROM pg_database WHERE datname = current_database()"))

    def begin(self) -> None:
        self.run("BEGIN")

    def lock(self) -> None:
        # The lock that CREATE TRIGGER takes, too. Readers go on.
        self.run(f"LOCK TABLE {', '.join(self.tables())} IN SHARE ROW EXCLUSIVE MODE")

    def columns(self) -> list[Row]:
        return self.ask(
            "SELECT c.relname, a.attname, a.attnum = ANY (coalesce(i.indkey::int2[], '{}')) "
            "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary "
            "WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace AND a.attnum > 0 "
            'AND NOT a.attisdropped ORDER BY c.relname COLLATE "C", a.attnum'
        )

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        with self.connection.cursor().copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def give_out_above(self, table: str, key: str) -> None:
        sequence = self.one(f"SELECT pg_get_serial_sequence('{table}', '{key}')")
        if sequence:
            # Never back: a client's cursor may have an id that was already given out.
            self.run(
                f"SELECT setval('{sequence}', greatest((SELECT max({key}) FROM {table}), last_value)) FROM {sequence}"
            )

    def analyze(self) -> None:
        # Otherwise a list may read the whole table until autovacuum comes, a minute later.
        for table in self.tables():
            self.run(f"ANALYZE {table}")

    def fences(self) -> list[Row]:
        return self.ask(
            "SELECT t.tgname, 'DROP TRIGGER ' || t.tgname || ' ON ' || c.relname, pg_get_triggerdef(t.oid) "
            "FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            f"WHERE c.relnamespace = current_schema()::regnamespace AND t.tgname ~ '^({FROZEN}|{SEALED})'"
        )

    def fence(self, kind: str, table: str, event: str, until: int, reason: str) -> None:
        self.run(
            "CREATE OR REPLACE FUNCTION fence() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END $$"
        )
        self.run(
            f"CREATE TRIGGER {kind}{table}_{event.lower()} BEFORE {event} ON {table} FOR EACH STATEMENT "
            f"WHEN (extract(epoch FROM now()) < {until}) EXECUTE FUNCTION fence('{reason}')"
        )


class Move:
    """Moves the rows of the source to the target.

    target: connects to it. An undo may do without it, if it is what failed.
    tell: passes a line on and returns when it was answered.
    """

    def __init__(self, source: Database, target: Callable[[], Database], tell: Callable[..., None]):
        self._source, self._connect, self._tell = source, target, tell
        self._told = 0.0

    @cached_property
    def _target(self) -> Database:
        return self._connect()

    def copy(self) -> None:
        """Make the target like the source, while both are in use."""
        self._accept()
        self._align_all()
        self._target.analyze()

    def finish(self) -> None:
        """Compare everything, have writes held, take along what came meanwhile, and seal the source.

        The source's seal is what decides: before it the source is the live database, after it the target. If both are
        sealed, for a moment or after a kill, they are the same.
        """
        source, target = self._source, self._target
        if not source.sealed:
            self._accept()
            with source.transaction():
                source.freeze()
            frozen = time.monotonic()
            last = self._align_all()
            self._tell(step="hold")
            held = time.monotonic()
            if held - frozen > FROZEN_SECONDS - 60:
                raise MoveError("the comparison took too long: run the same command again")
            with source.transaction():
                source.lock()
                for table, columns in source.tables().items():
                    # Comments up to the last one were compared, and could not change since.
                    self._align(table, last if table == COMMENTS else 0)
                    ours, theirs = source.count(table), target.count(table)
                    if ours != theirs:
                        raise MoveError(f"{source.kind} has {ours} rows in {table}, {target.kind} has {theirs}")
                    target.give_out_above(table, columns[0])
                source.seal(target.kind)
                if time.monotonic() - held > LOCKED_SECONDS:
                    raise MoveError(f"the last comments were not copied within {LOCKED_SECONDS:g} s: try again")
        elif target.site != source.site:
            raise MoveError("the comments of this database were moved elsewhere already: it is not the live one")
        with target.transaction():
            target.open()
        self._tell(step="moved", comments=target.count(COMMENTS))

    def undo(self) -> None:
        """Make the source the live database again, with all that the target has got since."""
        if self._source.sealed:
            Move(self._target, lambda: self._source, self._tell).finish()
            return
        with self._source.transaction():
            self._source.open()
        self._tell(step="moved", comments=self._source.count(COMMENTS))

    def _accept(self) -> None:
        """Check that the target may be overwritten, and that both databases have the same tables.

        Raises:
            MoveError: the source is not the live one, or the target has comments that are not this site's.
        """
        source, target = self._source, self._target
        if source.sealed:
            raise MoveError("the comments of this database were moved elsewhere already: it is not the live one")
        if source.kind == target.kind and source.identity() == target.identity():
            raise MoveError("both names lead to the same database: there is nothing to move")
        count = target.count(COMMENTS)
        if count and (not source.site or target.site != source.site):
            raise MoveError(
                f"the {target.kind} database holds {count} comments that are not a copy of this site's: "
                + ("create an empty one" if target.kind == Postgresql.kind else "rename its file on the host")
            )
        if source.tables() != target.tables():
            raise MoveError(
                f"the tables differ: {source.tables()} in {source.kind}, {target.tables()} in {target.kind}"
            )
        site = source.site or target.site or uuid4().hex
        for one in (source, target):
            if one.site != site:
                one.belong_to(site)

    def _align_all(self) -> int:
        """Make every table like the source's; return the last comment's id."""
        return {table: self._align(table, 0) for table in self._source.tables()}[COMMENTS]

    def _align(self, table: str, after: int) -> int:
        """Make the rows after a key like the source's; return the last key. Each row is read in both databases.

        Raises:
            MoveError: a row differs after it was written.
        """
        source, target, columns, done = self._source, self._target, self._source.tables()[table], 0
        while True:
            wanted = source.rows(table, columns, after, LAST, BATCH)
            last = wanted[-1][0] if len(wanted) == BATCH else LAST
            if target.rows(table, columns, after, last, BATCH + 1) != wanted:
                target.replace(table, columns, after, last, wanted)
                if target.rows(table, columns, after, last, BATCH + 1) != wanted:
                    raise MoveError(
                        f"{target.kind} does not return what was written after {columns[0]} {after} of {table}"
                    )
            done += len(wanted)
            if last == LAST:
                return int(wanted[-1][0]) if wanted else after
            after = last
            if time.monotonic() > self._told + PAUSE:
                self._told = time.monotonic()
                self._tell(step="copying", done=done, of=source.count(table))


def connect(name: str) -> Database:
    """The database that NAME or NAME_FILE names, with the schema of this release."""
    settings = Settings(database_url=secret(name) or Settings.from_env().database_url)
    # First, because its errors say more than the storage's.
    database = Sqlite(settings) if settings.database_url.startswith("sqlite:") else Postgresql(settings)
    storage = open_storage(settings)
    try:
        # The schema only: the target's rows are not the storage's to change.
        storage.engine.migrate()
    finally:
        storage.close()
    return database


def _tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)
    if not sys.stdin.readline():
        raise MoveError("nobody answers: the release has ended")


def main(step: str) -> int:
    try:
        move = Move(connect("FROM"), lambda: connect("TO"), _tell)
        {"copy": move.copy, "finish": move.finish, "undo": move.undo}[step]()
    except (MoveError, ConfigError, StorageError, sqlite3.Error, psycopg.Error, OSError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
