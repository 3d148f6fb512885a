"""The lock of a host: who has it, for how long, and who may take it over."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from comentarios_release.lock import Lock, LockFile, clock
from comentarios_release.settings import ReleaseError


class Hours:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def lock(folder: Path, hours: Hours) -> LockFile:
    return LockFile(folder, hours)


def test_second_is_refused_with_the_owners_name_and_the_times(lock: LockFile) -> None:
    lock.take("ana@laptop", "one", 90)
    with pytest.raises(ReleaseError) as refused:
        lock.take("rui@desk", "two", 60)
    assert str(refused.value) == (
        "ana@laptop is releasing on this host since 13:46:40 UTC: wait until that has ended "
        "(the lock expires at 13:48:10 UTC if nobody renews it)"
    )
    assert lock.holder() == Lock("ana@laptop", "one", 1_000_000, 1_000_090)


def test_holder_renews_it_and_has_it_since_the_same_time(lock: LockFile, hours: Hours) -> None:
    lock.take("ana", "one", 90)
    hours.now += 60
    lock.take("ana", "one", 90)
    assert lock.holder() == Lock("ana", "one", 1_000_000, 1_000_150)
    hours.now += 60
    lock.renew("ana", "one", 300)
    assert lock.holder() == Lock("ana", "one", 1_000_000, 1_000_420)


def test_expired_it_is_free(lock: LockFile, hours: Hours) -> None:
    lock.take("ana", "one", 90)
    hours.now += 90
    assert lock.holder() is None
    lock.take("rui", "two", 60)
    assert lock.holder() == Lock("rui", "two", 1_000_090, 1_000_150)


def test_dead_runs_lock_does_not_count(lock: LockFile) -> None:
    lock.take("ana", "one", 90)
    with pytest.raises(ReleaseError):
        lock.take("rui", "two", 60, abandoned=("another",))
    lock.take("rui", "two", 60, abandoned=("another", "one"))
    holder = lock.holder()
    assert holder and holder.token == "two"


def test_release_goes_on_whatever_became_of_its_lock(lock: LockFile, hours: Hours) -> None:
    lock.renew("ana", "one", 60)
    hours.now += 100
    lock.renew("ana", "one", 60)
    assert lock.holder() == Lock("ana", "one", 1_000_000, 1_000_160)


def test_only_its_holder_gives_it_back(lock: LockFile) -> None:
    lock.release("one")
    lock.take("ana", "one", 90)
    lock.release("two")
    assert lock.holder()
    lock.release("one")
    assert lock.holder() is None


def test_of_many_at_once_one_gets_it(folder: Path) -> None:
    barrier = threading.Barrier(8)

    def attempt(number: int) -> bool:
        barrier.wait()
        try:
            LockFile(folder).take(f"owner {number}", str(number), 60)
        except ReleaseError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            taken = list(pool.map(attempt, range(8)))
            assert taken.count(True) == 1
            holder = LockFile(folder).holder()
            assert holder and holder.token == str(taken.index(True))
            LockFile(folder).release(holder.token)


def test_damaged_lock_is_named(lock: LockFile, folder: Path) -> None:
    (folder / "lock.json").write_text('{"owner": "an')
    with pytest.raises(ReleaseError, match=r"lock.json is damaged \(.*\): restore or remove it"):
        lock.take("ana", "one", 60)


def test_clock() -> None:
    assert clock(0) == "00:00:00 UTC"
