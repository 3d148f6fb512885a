"""SQLite: durability, waiting for other processes, and errors of the file."""

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from comentarios.config import Settings
from comentarios.storage import NewComment, Storage, StorageFull, StorageUnavailable, open_storage
from comentarios.storage.sqlite import SqliteEngine
from servers import API

COMMENT = NewComment("1", "alice@example.com", "first post!", 0)


@pytest.fixture
def sqlite_storage(sqlite_url: str) -> Iterator[Storage]:
    opened = open_storage(Settings(database_url=sqlite_url, busy_seconds=0.05))
    opened.ensure_migrated()
    yield opened
    opened.close()


def _engine(storage: Storage) -> SqliteEngine:
    assert isinstance(storage.engine, SqliteEngine)
    return storage.engine


def test_a_newer_release_has_migrated(sqlite_storage: Storage, sqlite_url: str) -> None:
    """A rollback meets the schema of the release it replaces, which only ever adds."""
    path = sqlite_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE comments ADD COLUMN likes INTEGER NOT NULL DEFAULT 0")
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    older = open_storage(Settings(database_url=sqlite_url))
    older.add(COMMENT)
    assert older.engine.slice("1", 0, 10).length == 1
    older.close()


def test_sqlite_syncs_every_commit(sqlite_storage: Storage) -> None:
    sqlite_storage.add(COMMENT)
    writer = _engine(sqlite_storage)._writer
    assert writer
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_sqlite_waits_for_another_process_then_gives_up_and_recovers(sqlite_storage: Storage, sqlite_url: str) -> None:
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(StorageUnavailable, match="SQLITE_BUSY"):
        sqlite_storage.add(COMMENT)
    assert 0.04 < time.monotonic() - started < 3
    assert sqlite_storage.engine.slice("1", 0, 10).length == 0  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    sqlite_storage.add(COMMENT)
    assert sqlite_storage.engine.slice("1", 0, 10).length == 1


def test_sqlite_full_file_refuses_and_recovers(sqlite_storage: Storage) -> None:
    sqlite_storage.add(COMMENT)
    writer = _engine(sqlite_storage)._writer
    assert writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageFull):
        for number in range(50):
            sqlite_storage.add(NewComment("big", "a@example.com", "x" * 9_000, number))
    kept = sqlite_storage.engine.slice("big", 0, 100).length
    sqlite_storage.add(COMMENT)  # on a connection without the bound
    assert sqlite_storage.engine.slice("big", 0, 100).length == kept
    check = sqlite3.connect(_engine(sqlite_storage)._path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


def test_sqlite_folder_that_is_not_there(tmp_path: Path) -> None:
    storage = open_storage(Settings(database_url=f"sqlite:///{tmp_path}/later/comentarios.db"))
    storage.prepare()
    with pytest.raises(StorageUnavailable, match="SQLITE_CANTOPEN"):
        storage.ping()
    (tmp_path / "later").mkdir()
    storage.ping()
    storage.close()


def test_sqlite_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "comentarios.db"
    path.write_text("this is not a database, whatever its name says" * 100)
    storage = open_storage(Settings(database_url=f"sqlite:///{path}"))
    with pytest.raises(StorageUnavailable, match="SQLITE_NOTADB"):
        storage.ping()
    storage.close()
    assert path.read_text().startswith("this is not")


def test_new_file_that_another_replica_writes(tmp_path: Path) -> None:
    """Replicas that start together: SQLite does not wait itself when the journal's mode changes."""
    path = tmp_path / "comentarios.db"
    with sqlite3.connect(path, isolation_level=None, check_same_thread=False) as other:
        other.execute("CREATE TABLE one (one)")
        other.execute("BEGIN IMMEDIATE")
        ends = threading.Timer(0.05, other.execute, ["COMMIT"])
        ends.start()
        SqliteEngine(str(path), 5).migrate()
        ends.join()
    other.close()


def test_processes_share_a_sqlite_file(sqlite_url: str) -> None:
    """Writers in four processes, as four replicas are: each waits for the others' lock."""
    script = f"""
import sys
sys.path.insert(0, {str(API)!r})
from comentarios.config import Settings
from comentarios.storage import NewComment, open_storage
storage = open_storage(Settings(database_url={sqlite_url!r}))
for number in range(50):
    storage.add(NewComment(sys.argv[1], "a@example.com", str(number), 0))
"""
    writers = [subprocess.Popen([sys.executable, "-c", script, str(number)]) for number in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    storage = open_storage(Settings(database_url=sqlite_url))
    assert [storage.engine.slice(str(number), 0, 200).length for number in range(4)] == [50] * 4
    storage.close()
