"""Comments that share a commit."""

import threading
import time
from typing import Any

from comentarios.storage.writer import GroupWriter
from threads import in_threads


def test_group_writer_shares_commits() -> None:
    batches, release = [], threading.Event()

    def write(batch: list[Any]) -> None:
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


def test_group_writer_tells_every_waiter_of_a_failure() -> None:
    def write(batch: list[int]) -> None:
        raise ZeroDivisionError

    writer = GroupWriter(write)
    results = in_threads(4, writer.submit)
    assert [type(result) for result in results] == [ZeroDivisionError] * 4


def test_group_writer_tells_those_who_share_a_commit_that_it_failed() -> None:
    """All of them, not only the one who wrote for them."""
    release = threading.Event()
    failed: list[int] = []

    def write(batch: list[Any]) -> None:
        release.wait(10)
        if batch != [0]:
            raise ValueError

    def submit(number: int) -> None:
        try:
            writer.submit(number)
        except ValueError:
            failed.append(number)

    writer = GroupWriter(write)
    threads = [threading.Thread(target=submit, args=(number,)) for number in range(5)]
    for waiting, thread in enumerate(threads):
        thread.start()
        while not writer._busy or len(writer._waiting) < waiting:
            time.sleep(0.001)
    release.set()
    for thread in threads:
        thread.join(10)
    assert sorted(failed) == [1, 2, 3, 4]


def test_group_writer_goes_on_after_a_failure() -> None:
    written = []

    def write(batch: list[Any]) -> None:
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
