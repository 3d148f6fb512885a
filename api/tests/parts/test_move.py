"""A move between SQLite and a real PostgreSQL, with writes and kills meanwhile; everything is read back."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from comentarios.config import Settings
from comentarios.storage import NewComment, StorageUnavailable, open_storage
from postgres import Postgres

API = Path(__file__).resolve().parents[2]
ROWS = 100_000
# Characters that either database could treat in a way of its own.
TEXTS = ("é 😀 \t\r\n\\ \\N \x01 ' \" %s $1", "\\N", "\\.", "{}", "x" * 200)
READ = "SELECT id, content_id, email, comment, created_ms FROM comments ORDER BY id"

Row = tuple[Any, ...]
Told = Callable[[dict[str, Any], subprocess.Popen[str]], None]


class Sides:
    """A SQLite file and a PostgreSQL database; `sqlite` holds comments first."""

    def __init__(self, folder: Path, postgres: Postgres):
        self.urls = {"sqlite": f"sqlite:///{folder}/comentarios.db", "postgresql": postgres.new_database()}
        self.file = folder / "comentarios.db"
        self.storages = {name: open_storage(Settings(database_url=url)) for name, url in self.urls.items()}
        self.storages["sqlite"].ensure_migrated()

    def fill(self, count: int) -> None:
        with sqlite3.connect(self.file) as opened:
            # With gaps, as after comments were erased.
            rows = (
                (n * 2, f"thread {n % 997}", "a@example.com", TEXTS[n % 5] if n % 500 else "x" * 10_000, n)
                for n in range(1, count + 1)
            )
            opened.executemany("INSERT INTO comments VALUES (?, ?, ?, ?, ?)", rows)

    def rows(self, name: str) -> list[Row]:
        if name == "sqlite":
            with sqlite3.connect(self.file) as opened:
                return opened.execute(READ).fetchall()
        with psycopg.connect(self.urls[name]) as connection:
            return connection.execute(READ).fetchall()

    def step(self, name: str, source: str, target: str, told: Told = lambda line, process: None) -> dict[str, Any]:
        """Runs a step as a release does: it answers each line. Returns the last one; nothing if it was killed."""
        environment = os.environ | {"FROM": self.urls[source], "TO": self.urls[target], "PYTHONPATH": str(API)}
        command = [sys.executable, "-m", "comentarios.move", name]
        pipe, last = subprocess.PIPE, {}
        with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
            assert process.stdin and process.stdout and process.stderr
            for line in process.stdout:
                last = json.loads(line)
                told(last, process)
                with suppress(BrokenPipeError):
                    os.write(process.stdin.fileno(), b"\n")
            said = process.stderr.read()
        if process.returncode == -signal.SIGKILL:
            return {}
        assert process.returncode == 0, said
        return last

    def close(self) -> None:
        for storage in self.storages.values():
            storage.close()


class Edge:
    """Clients that post all the while, to the database that is live; while writes are held, they wait."""

    def __init__(self, sides: Sides, live: str):
        self.live = live
        self.acknowledged: list[str] = []
        self.refused = 0
        self._sides, self._over, self._held = sides, threading.Event(), False
        self._under_way = threading.Lock()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Edge":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def hold(self) -> None:
        with self._under_way:
            self._held = True

    def let_go(self, live: str) -> None:
        self.live, self._held = live, False

    def told(self, line: dict[str, Any], _: object = None) -> None:
        if line["step"] == "hold":
            self.hold()

    def _run(self) -> None:
        while not self._over.wait(0.002):
            with self._under_way:
                if self._held:
                    continue
                text = f"posted {len(self.acknowledged) + self.refused}"
                try:
                    self._sides.storages[self.live].add(NewComment("posted", "a@example.com", text, 0))
                    self.acknowledged.append(text)
                except StorageUnavailable:
                    self.refused += 1


@pytest.fixture
def sides(tmp_path: Path, postgres: Postgres) -> Iterator[Sides]:
    made = Sides(tmp_path, postgres)
    yield made
    made.close()


def posted(rows: list[Row]) -> list[str]:
    return [row[3] for row in rows if row[1] == "posted"]


def test_there_and_back_with_writes_meanwhile(sides: Sides) -> None:
    sides.fill(ROWS)
    before = sides.rows("sqlite")
    held = []
    with Edge(sides, "sqlite") as edge:
        for source, target in (("sqlite", "postgresql"), ("postgresql", "sqlite")):
            sides.step("copy", source, target)

            def told(line: dict[str, Any], _: object) -> None:
                if line["step"] == "hold":
                    held.append(time.monotonic())
                edge.told(line)

            last = sides.step("finish", source, target, told)
            held[-1] = time.monotonic() - held[-1]
            assert last["step"] == "moved"
            assert sides.rows(target) == sides.rows(source)
            assert last["comments"] == len(sides.rows(source))
            edge.let_go(target)
            taken = len(edge.acknowledged)
            while len(edge.acknowledged) < taken + 20:
                time.sleep(0.01)
    rows = sides.rows("sqlite")
    assert rows[:ROWS] == before
    assert posted(rows) == edge.acknowledged and edge.refused == 0
    assert len({row[0] for row in rows}) == len(rows)
    # A machine that does other things, too.
    assert max(held) < 4, held


def test_cursors_that_were_given_out_stay_valid(sides: Sides) -> None:
    sides.fill(3000)
    pages = {after: sides.storages["sqlite"].page("thread 5", after, 2, 150_000) for after in (0, 10, 2004)}
    sides.step("finish", "sqlite", "postgresql")
    for after, page in pages.items():
        assert sides.storages["postgresql"].page("thread 5", after, 2, 150_000) == page
    sides.storages["postgresql"].add(NewComment("thread 5", "a@example.com", "new", 0))
    assert sides.rows("postgresql")[-1][0] == 6001


def test_lists_use_the_index_at_once(sides: Sides) -> None:
    """Without statistics, PostgreSQL may read by id and leave out other threads."""
    sides.fill(20_000)
    sides.step("copy", "sqlite", "postgresql")
    with psycopg.connect(sides.urls["postgresql"]) as connection:
        found = connection.execute("SELECT reltuples FROM pg_class WHERE oid = 'comments'::regclass").fetchone()
    assert found == (20_000,)


def test_an_id_is_not_given_out_twice_after_the_last_comment_was_erased(sides: Sides) -> None:
    """PostgreSQL's sequence goes up only, there and back again."""
    sides.fill(10)
    sides.step("finish", "sqlite", "postgresql")
    for _ in range(3):
        sides.storages["postgresql"].add(NewComment("1", "a@example.com", "new", 0))
    sides.step("finish", "postgresql", "sqlite")
    with sqlite3.connect(sides.file) as opened:
        opened.execute("DELETE FROM comments WHERE id > 20")
    sides.step("finish", "sqlite", "postgresql")
    sides.storages["postgresql"].add(NewComment("1", "a@example.com", "new", 0))
    assert sides.rows("postgresql")[-1][0] == 24


@pytest.mark.parametrize(("source", "target"), [("sqlite", "postgresql"), ("postgresql", "sqlite")])
def test_killed_at_any_time_it_carries_on_or_goes_back(sides: Sides, source: str, target: str) -> None:
    """By SIGKILL in the copy, in the comparison, while the source is locked, and after the seal."""
    sides.fill(2000)
    if source == "postgresql":
        sides.step("finish", target, source)

    def early(seconds: float) -> Told:
        """So long after the start, or when it asks for the hold."""
        begin = time.monotonic()

        def told(line: dict[str, Any], process: subprocess.Popen[str]) -> None:
            threading.Timer(max(0, begin + seconds - time.monotonic()), process.kill).start()
            if line["step"] == "hold":
                process.kill()

        return told

    def late(seconds: float) -> Told:
        """So long after writes are held."""

        def told(line: dict[str, Any], process: subprocess.Popen[str]) -> None:
            edge.told(line)
            if line["step"] == "hold":
                threading.Timer(seconds, process.kill).start()

        return told

    with Edge(sides, source) as edge:
        for number in range(4):
            assert sides.step("copy" if number % 2 else "finish", source, target, early(number * 0.15)).get("step") in (
                None,
                "copying",
            )
            sides.step("finish", source, target, late(number * 0.04))
            if number % 3 == 0:
                sides.step("undo", source, target, edge.told)
            else:
                assert sides.step("finish", source, target, edge.told)["step"] == "moved"
                assert sides.rows(target) == sides.rows(source)
                edge.let_go(target)
                time.sleep(0.03)
                # With what the target got.
                assert sides.step("undo", source, target, edge.told)["step"] == "moved"
            assert posted(sides.rows(source)) == edge.acknowledged
            edge.let_go(source)
    assert len(edge.acknowledged) > 50


def test_other_tables_are_moved_too(sides: Sides) -> None:
    sides.storages["postgresql"].ensure_migrated()
    made = "CREATE TABLE notes (at_ms bigint PRIMARY KEY, text text NOT NULL)"
    with sqlite3.connect(sides.file) as opened, psycopg.connect(sides.urls["postgresql"]) as connection:
        for execute in (opened.execute, connection.execute):
            execute(made)
        opened.execute("INSERT INTO notes VALUES (4, 'kept')")
    sides.step("finish", "sqlite", "postgresql")
    sides.step("finish", "postgresql", "sqlite")
    with sqlite3.connect(sides.file) as opened, psycopg.connect(sides.urls["postgresql"]) as connection:
        for found in (opened.execute("SELECT * FROM notes"), connection.execute("SELECT * FROM notes")):
            assert found.fetchall() == [(4, "kept")]


def test_a_database_of_another_encoding_is_refused(sides: Sides, postgres: Postgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    sides.urls["postgresql"] = postgres.url.replace("/postgres", "/latin")
    with pytest.raises(AssertionError, match="has the encoding LATIN1: create one with ENCODING 'UTF8'"):
        sides.step("copy", "sqlite", "postgresql")


def test_postgresql_that_is_not_there(sides: Sides, postgres: Postgres) -> None:
    sides.fill(10)
    postgres.stop()
    try:
        with pytest.raises(AssertionError, match="connection failed"):
            sides.step("copy", "sqlite", "postgresql")
        sides.step("undo", "sqlite", "postgresql")
    finally:
        postgres.start()
    sides.storages["sqlite"].add(NewComment("1", "a@example.com", "goes on", 0))
