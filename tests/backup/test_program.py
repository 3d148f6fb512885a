"""Backups of a database that is written to all the while, what a restore refuses, and what it keeps."""

from __future__ import annotations

import gzip
import os
import sqlite3
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from comentarios.config import Settings as ApiSettings
from comentarios.storage import open_storage
from comentarios.storage.base import NewComment, StorageUnavailable
from comentarios_backup import __main__ as program
from comentarios_backup.settings import BackupError
from comentarios_backup.sqlite import Sqlite
from comentarios_backup.store import Store, made_at

# `make prove` makes a hundred.
COUNT = 100 if os.environ.get("PROVE") == "yes" else 6


class Containers:
    """Stands in for the API's containers, which tests/e2e/test_backup.py has: notes what happens to them."""

    def __init__(self, ready: bool = True):
        self.calls, self.ready = [], ready

    def __call__(self, _settings) -> Containers:
        return self

    def release(self) -> str:
        return "abc123"

    def lock(self, _token) -> None:
        self.calls.append("lock")

    def unlock(self, _token) -> None:
        self.calls.append("unlock")

    def stop(self) -> list[str]:
        self.calls.append("stop")
        return ["one"]

    def start(self, _containers) -> None:
        self.calls.append("start")
        if not self.ready:
            self.ready = True
            raise BackupError("the API is not ready a minute after its start: `make logs SERVICE=api`")


@pytest.fixture
def containers(monkeypatch) -> Containers:
    made = Containers()
    monkeypatch.setattr(program, "Stack", made)
    return made


class Writer:
    """The API's own storage, written to without a pause by a thread; ``acknowledged`` grows after each commit."""

    def __init__(self, url: str):
        self._storage = open_storage(ApiSettings(database_url=url))
        self._stop = threading.Event()
        self.acknowledged = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        self.wait(1)
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()
        self._storage.close()

    def wait(self, count: int) -> None:
        """Until so many are acknowledged."""
        deadline = time.monotonic() + 30
        while self.acknowledged < count:
            assert time.monotonic() < deadline and self._thread.is_alive()
            time.sleep(0.002)

    def _run(self) -> None:
        while not self._stop.is_set():
            text = f"{self.acknowledged} " + "x" * 500
            self._storage.add(NewComment(content_id="1", email="a@example.com", comment=text, created_ms=0))
            self.acknowledged += 1


def _sqlite_comments(settings) -> list[str]:
    with closing(sqlite3.connect(settings.sqlite_file)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0].split()[0] for row in opened.execute("SELECT comment FROM comments ORDER BY id")]


def test_backups_of_a_database_that_is_written_to(settings, containers):
    """Each holds everything that was acknowledged when it began, without a gap, and restores to just that."""
    incomplete = []
    with Writer(f"sqlite:///{settings.sqlite_file}") as writer:
        made = []
        for _ in range(COUNT):
            before = writer.acknowledged
            made.append((before, program.run(settings)))
    for number, (before, backup) in enumerate(made):
        elsewhere = replace(settings, sqlite_file=settings.sqlite_file.with_name(f"restored-{number}.db"))
        done = program.restore(elsewhere, backup["name"])
        restored = _sqlite_comments(elsewhere)
        if restored != [str(text) for text in range(done["comments"])] or done["comments"] < before:
            incomplete.append((backup, before, len(restored)))
    assert not incomplete
    assert made[-1][0] > 20
    metrics = settings.metrics_file.read_text()
    assert f"comentarios_backup_comments {made[-1][1]['comments']}.000\n" in metrics
    assert "# TYPE comentarios_backup_last_success_timestamp_seconds gauge" in metrics
    assert [one["name"] for one in program.list_(settings)] == sorted(
        (backup["name"] for _, backup in made), key=made_at
    )


def test_backups_of_postgresql(settings, postgres, containers):
    """The same with a real server: dumped, restored beside and swapped while the API's storage holds connections."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE comentarios")
    url = postgres.url.replace("/postgres", "/comentarios")
    settings = replace(settings, database_url=url)
    with Writer(url) as writer:
        writer.wait(20)
        before = writer.acknowledged
        made = program.run(settings)
    later = open_storage(ApiSettings(database_url=url))
    later.add(NewComment("1", "a@example.com", "after the backup", 0))
    done = program.restore(settings, "")
    assert done["comments"] == made["comments"] >= before and done["before"] > done["comments"]
    with psycopg.connect(url) as connection:
        texts = [row[0].split()[0] for row in connection.execute("SELECT comment FROM comments ORDER BY id")]
    assert texts == [str(number) for number in range(done["comments"])]
    # A replica whose connections were ended answers some requests with 503, and finds the restored database then.
    deadline = time.monotonic() + 10
    while True:
        try:
            later.add(NewComment("1", "a@example.com", "after the restore", 0))
            break
        except StorageUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    later.close()
    assert containers.calls == ["lock", "stop", "start", "unlock"]


def test_restore_keeps_the_old_database(settings, containers):
    with Writer(f"sqlite:///{settings.sqlite_file}") as writer:
        writer.wait(5)
        made = program.run(settings)
    count = len(_sqlite_comments(settings))
    done = program.restore(settings, "")
    assert done["restored"]["name"] == made["name"] and done["before"] == count
    assert len(_sqlite_comments(settings)) == made["comments"]
    assert len(_sqlite_comments(replace(settings, sqlite_file=Path(done["kept"])))) == count
    assert containers.calls == ["lock", "stop", "start", "unlock"]
    assert not (settings.work_dir / "now").exists()


def test_api_that_does_not_start_with_it(settings, containers):
    """The old database comes back."""
    with Writer(f"sqlite:///{settings.sqlite_file}") as writer:
        writer.wait(5)
        program.run(settings)
    before = _sqlite_comments(settings)
    containers.ready = False
    with pytest.raises(BackupError, match="not ready"):
        program.restore(settings, "")
    assert _sqlite_comments(settings) == before
    assert containers.calls == ["lock", "stop", "start", "stop", "start", "unlock"]


def _spoil(kind: str, settings, s3) -> str:
    """Makes a backup that is wrong in one way; returns its name."""
    name = program.run(settings)["name"]
    key = f"{settings.prefix}{name}"
    stored = s3.get_object(Bucket=settings.bucket, Key=key)
    body, facts = stored["Body"].read(), stored["Metadata"]
    if kind == "one byte differs":
        body = body[:-200] + bytes([body[-200] ^ 1]) + body[-199:]
    elif kind == "cut off":
        body = body[: len(body) // 2]
    elif kind == "no checksum beside it":
        facts = {}
    elif kind == "another's content":
        body = gzip.compress(b"SQLite format 3\0 and nothing more")
    s3.put_object(Bucket=settings.bucket, Key=key, Body=body, Metadata=facts)
    return name


KINDS = ("one byte differs", "cut off", "no checksum beside it", "another's content")


@pytest.mark.parametrize("kind", KINDS)
def test_restore_refuses(kind, settings, s3, containers):
    """One line, and nothing was touched: the API was not even stopped."""
    with Writer(f"sqlite:///{settings.sqlite_file}") as writer:
        writer.wait(5)
    name, before = _spoil(kind, settings, s3), settings.sqlite_file.read_bytes()
    with pytest.raises(BackupError) as raised:
        program.restore(settings, name)
    assert "\n" not in str(raised.value) and ("corrupt" in str(raised.value) or "not made by" in str(raised.value))
    assert settings.sqlite_file.read_bytes() == before and not containers.calls


def test_list_names_what_is_not_ours(settings, s3, containers):
    with Writer(f"sqlite:///{settings.sqlite_file}") as writer:
        writer.wait(5)
    made = program.run(settings)
    foreign = _spoil("no checksum beside it", settings, s3)
    assert program.list_(settings) == sorted([made, {"name": foreign}], key=lambda one: made_at(one["name"]))


def test_restore_refuses_other_databases(settings, containers):
    """Whole, with a right checksum, and not the comments'; or of a schema that the live release does not know."""
    with Writer(f"sqlite:///{settings.sqlite_file}") as writer:
        writer.wait(2)
    settings.work_dir.mkdir()
    for statements, message in (
        (["CREATE TABLE users (id INTEGER)"], "something else"),
        (
            ["CREATE TABLE comments (id, content_id, email, comment, created_ms)", "PRAGMA user_version = 99"],
            "schema 99",
        ),
    ):
        other = settings.work_dir / "other.db"
        other.unlink(missing_ok=True)
        with closing(sqlite3.connect(other)) as opened:
            for statement in statements:
                opened.execute(statement)
        Store(settings).put(other, "20260101T000000Z-0000.sqlite.gz", 0, "abc")
        with pytest.raises(BackupError, match=message):
            program.restore(settings, "20260101T000000Z-0000.sqlite.gz")
    assert not containers.calls


def test_what_cannot_be_backed_up(settings, containers):
    """Each is one line that says what to do, and no metric says that a backup was made."""
    with pytest.raises(BackupError, match="has the API ever started"):
        program.run(settings)
    with pytest.raises(BackupError, match="no backup of this kind"):
        program.restore(settings, "")
    with pytest.raises(BackupError, match="there is no backup nothing: `make backups`"):
        Store(settings).get("nothing")
    with Writer(f"sqlite:///{settings.sqlite_file}"):
        pass
    with pytest.raises(BackupError, match="cannot be written"):
        program.run(replace(settings, bucket="no-such-bucket"))
    assert not settings.metrics_file.exists()


def test_database_in_use_is_not_swapped(settings, containers):
    with Writer(f"sqlite:///{settings.sqlite_file}") as writer:
        writer.wait(5)
        program.run(settings)
        settings.work_dir.joinpath("copy").write_bytes(b"")
        with pytest.raises(BackupError, match="still in use"):
            Sqlite(settings.sqlite_file).swap(settings.work_dir / "copy")
    assert len(_sqlite_comments(settings)) >= 5
