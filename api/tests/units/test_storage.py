"""The same behaviour of every storage engine."""

import threading
from collections.abc import Iterator

import pytest
from comentarios.config import Settings
from comentarios.storage import NewComment, Storage, StorageUnavailable, open_storage
from threads import in_threads

COMMENT = NewComment("1", "alice@example.com", "first post!", 0)


@pytest.fixture
def storage(database_url: str) -> Iterator[Storage]:
    opened = open_storage(Settings(database_url=database_url))
    opened.ensure_migrated()
    yield opened
    opened.close()


def test_every_comment_of_many_threads_is_stored_once(storage: Storage) -> None:
    def add(number: int) -> None:
        for part in range(20):
            storage.add(NewComment(f"{number}", "a@example.com", f"{number}-{part}", 0))

    assert in_threads(16, add) == [None] * 16
    for number in range(16):
        items = storage.engine.slice(f"{number}", 0, 100).items
        assert [items.count(f'"{number}-{part}"'.encode()) for part in range(20)] == [1] * 20


def test_replicas_migrate_an_empty_database_at_once(database_url: str) -> None:
    replicas = [open_storage(Settings(database_url=database_url)) for _ in range(8)]
    assert in_threads(8, lambda number: replicas[number].ensure_migrated()) == [None] * 8
    assert in_threads(8, lambda number: replicas[number].add(COMMENT)) == [None] * 8
    assert replicas[0].engine.slice("1", 0, 100).length == 8
    for replica in replicas:
        replica.close()


def test_migrating_again_changes_nothing(storage: Storage, database_url: str) -> None:
    storage.add(COMMENT)
    again = open_storage(Settings(database_url=database_url))
    again.ensure_migrated()
    assert again.engine.slice("1", 0, 10).length == 1
    again.close()


def test_nobody_waits_for_anothers_migration_longer_than_for_the_database(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a database that hangs, each request would wait until those before it have given up."""
    storage = open_storage(Settings(database_url=database_url, busy_seconds=0.01, connect_seconds=0.01))
    begun, end = threading.Event(), threading.Event()

    def hanging() -> None:
        begun.set()
        assert end.wait(40)
        raise StorageUnavailable("gone")

    monkeypatch.setattr(storage.engine, "migrate", hanging)
    first = threading.Thread(target=storage.prepare)
    first.start()
    assert begun.wait(10)
    try:
        (raised,) = in_threads(1, lambda _: storage.newest("1"))
    finally:
        end.set()
        first.join()
    assert isinstance(raised, StorageUnavailable)
    storage.close()
