"""Durability, migrations and what happens when the database will not."""

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from comentarios.config import Settings
from comentarios.storage import NewComment, StorageFull, StorageUnavailable, open_storage
from comentarios.storage.writer import GroupWriter

API = Path(__file__).resolve().parent.parent
COMMENT = NewComment("1", "alice@example.com", "first post!", 0)


@pytest.fixture
def storage(database_url):
    opened = open_storage(Settings(database_url=database_url))
    opened.ensure_migrated()
    yield opened
    opened.close()


@pytest.fixture
def sqlite_storage(sqlite_url):
    opened = open_storage(Settings(database_url=sqlite_url, busy_seconds=0.3))
    opened.ensure_migrated()
    yield opened
    opened.close()


def in_threads(count, function):
    """Run `function(number)` in so many threads at once; what they returned or raised."""
    results = [None] * count

    def run(number):
        try:
            results[number] = function(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_every_comment_of_many_threads_is_stored_once(storage):
    def add(number):
        for part in range(20):
            storage.add(NewComment(f"{number}", "a@example.com", f"{number}-{part}", 0))

    assert in_threads(16, add) == [None] * 16
    for number in range(16):
        items = storage.page(f"{number}", 0, None, 100).items
        assert [items.count(f'"{number}-{part}"') for part in range(20)] == [1] * 20


def test_replicas_migrate_an_empty_database_at_once(database_url):
    replicas = [open_storage(Settings(database_url=database_url)) for _ in range(8)]
    assert in_threads(8, lambda number: replicas[number].ensure_migrated()) == [None] * 8
    assert in_threads(8, lambda number: replicas[number].add(COMMENT)) == [None] * 8
    assert replicas[0].page("1", 0, None, 100).count == 8
    for replica in replicas:
        replica.close()


def test_migrating_again_changes_nothing(storage, database_url):
    storage.add(COMMENT)
    again = open_storage(Settings(database_url=database_url))
    again.ensure_migrated()
    assert again.page("1", 0, None, 10).count == 1
    again.close()


def test_a_newer_release_has_migrated(sqlite_storage, sqlite_url):
    """A rollback meets the schema of the release it replaces, which only ever adds."""
    path = sqlite_url.removeprefix("sqlite:///")
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE comments ADD COLUMN likes INTEGER NOT NULL DEFAULT 0")
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    older = open_storage(Settings(database_url=sqlite_url))
    older.add(COMMENT)
    assert older.page("1", 0, None, 10).count == 1
    older.close()


def test_sqlite_syncs_every_commit(sqlite_storage):
    sqlite_storage.add(COMMENT)
    writer = sqlite_storage.engine._writer
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_sqlite_waits_for_another_process_then_gives_up_and_recovers(sqlite_storage, sqlite_url):
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    with pytest.raises(StorageUnavailable, match="SQLITE_BUSY"):
        sqlite_storage.add(COMMENT)
    assert 0.25 < time.monotonic() - started < 3
    assert sqlite_storage.page("1", 0, None, 10).count == 0  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    sqlite_storage.add(COMMENT)
    assert sqlite_storage.page("1", 0, None, 10).count == 1


def test_sqlite_full_file_refuses_and_recovers(sqlite_storage):
    sqlite_storage.add(COMMENT)
    writer = sqlite_storage.engine._writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageFull):
        for number in range(50):
            sqlite_storage.add(NewComment("big", "a@example.com", "x" * 9_000, number))
    kept = sqlite_storage.page("big", 0, None, 100).count
    sqlite_storage.add(COMMENT)  # on a connection without the bound
    assert sqlite_storage.page("big", 0, None, 100).count == kept
    check = sqlite3.connect(sqlite_storage.engine._path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


def test_sqlite_folder_that_is_not_there(tmp_path):
    storage = open_storage(Settings(database_url=f"sqlite:///{tmp_path}/later/comentarios.db"))
    storage.prepare()
    with pytest.raises(StorageUnavailable, match="SQLITE_CANTOPEN"):
        storage.ping()
    (tmp_path / "later").mkdir()
    storage.ping()
    storage.close()


def test_sqlite_file_that_is_no_database(tmp_path):
    path = tmp_path / "comentarios.db"
    path.write_text("this is not a database, whatever its name says" * 100)
    storage = open_storage(Settings(database_url=f"sqlite:///{path}"))
    with pytest.raises(StorageUnavailable, match="SQLITE_NOTADB"):
        storage.ping()
    storage.close()
    assert path.read_text().startswith("this is not")


def test_processes_share_a_sqlite_file(sqlite_url):
    """Writers in four processes, as four replicas are: each waits for the others' lock."""
    script = f"""
import sys
sys.path.insert(0, {str(API)!r})
from comentarios.config import Settings
from comentarios.storage import NewComment, open_storage
storage = open_storage(Settings(database_url={sqlite_url!r}))
for number in range(100):
    storage.add(NewComment(sys.argv[1], "a@example.com", str(number), 0))
"""
    writers = [subprocess.Popen([sys.executable, "-c", script, str(number)]) for number in range(4)]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    storage = open_storage(Settings(database_url=sqlite_url))
    assert [storage.page(str(number), 0, None, 200).count for number in range(4)] == [100] * 4
    storage.close()


def test_pages_hide_no_comment_that_commits_late(postgres):
    """PostgreSQL gives ids out before it commits; readers who page must not step over one."""
    url = postgres.new_database()
    replicas = [open_storage(Settings(database_url=url)) for _ in range(3)]
    replicas[0].ensure_migrated()
    seen, stop = [], threading.Event()

    def read():
        last = 0
        while True:
            ended = stop.is_set()
            page = replicas[0].page("1", last, None, 100)
            seen.append(page.count)
            last = page.last_id or last
            if ended and page.count == 0:
                return

    reader = threading.Thread(target=read)
    reader.start()
    written = in_threads(3, lambda number: [replicas[number].add(COMMENT) for _ in range(60)] and None)
    stop.set()
    reader.join(30)
    assert written == [None] * 3
    assert sum(seen) == 180
    for replica in replicas:
        replica.close()


def test_group_writer_shares_commits():
    batches, release = [], threading.Event()

    def write(batch):
        batches.append(batch)
        release.wait(10)

    writer = GroupWriter(write)
    first = threading.Thread(target=writer.submit, args=(0,))
    first.start()
    while not batches:
        time.sleep(0.001)
    others = [threading.Thread(target=writer.submit, args=(number,)) for number in range(1, 21)]
    for thread in others:
        thread.start()
    while len(writer._waiting) < 20:
        time.sleep(0.001)
    release.set()
    for thread in [first, *others]:
        thread.join(10)
    assert batches[0] == [0] and sorted(batches[1]) == list(range(1, 21)) and len(batches) == 2


def test_group_writer_tells_every_waiter_of_a_failure():
    writer = GroupWriter(lambda batch: 1 / 0)
    results = in_threads(4, writer.submit)
    assert [type(result) for result in results] == [ZeroDivisionError] * 4


def test_group_writer_goes_on_after_a_failure():
    written = []

    def write(batch):
        if "bad" in batch:
            raise ValueError
        written.extend(batch)

    writer = GroupWriter(write)
    results = in_threads(60, lambda number: writer.submit("bad" if number % 3 == 0 else number))
    refused = sum(isinstance(result, ValueError) for result in results)
    assert len(written) + refused == 60 and refused >= 20
    assert all((number in written) == (results[number] is None) for number in range(60) if number % 3)
    writer.submit("after")
    assert written[-1] == "after"
