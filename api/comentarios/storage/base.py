"""The interfaces of storage and of its engines."""

import logging
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from queue import Empty, SimpleQueue
from typing import Any, LiteralString, NamedTuple, Protocol

from .moderation import Moderation, Run
from .writer import GroupWriter

log = logging.getLogger("comentarios.storage")


class StorageError(Exception):
    """The database failed. `code` and `public` are for the reply, the text is for the log."""

    code = 503
    public = "the database cannot be reached; try again shortly"
    retry_after = 2


class StorageUnavailable(StorageError):
    """No connection, a lock timeout, or a file that is read-only or damaged."""


class StorageFull(StorageError):
    """No space for another comment."""

    code = 507
    public = "there is no room left to store comments"
    retry_after = 30


class NewComment(NamedTuple):
    content_id: str
    email: str
    comment: str
    created_ms: int


class Stored(NamedTuple):
    """A stored comment. After a restore, ids may repeat, but not together with the time.

    revision: when any comment was last hidden, unhidden or erased; 0 for never.
    """

    id: int
    created_ms: int
    revision: int


class Slice(NamedTuple):
    """Consecutive comments of one thread, the oldest first.

    items: JSON objects joined by commas, without the brackets; made by the database, which is faster than Python.
    length: how many. last: the last of them, None when there is none.
    """

    items: bytes
    length: int
    last: Stored | None


class Page(NamedTuple):
    """The part of a thread that fits into one reply.

    array: the comments as a JSON array. length: how many. next_after: the id after which the next page begins, None
    when there is nothing after this one. newest: of the whole thread, None for one never seen; its revision is of when
    the first comment was read.
    """

    array: bytes
    length: int
    next_after: int | None
    newest: Stored | None


# Comments per read. Most threads are one slice; a slice of the longest comments is 2 MiB.
SLICE = 32
# Pages that are built concurrently. This limits memory; more would only wait for each other.
READERS = 4


class Engine(Protocol):
    """One database. Its methods are thread-safe and raise only `StorageError`.

    slice_query, newest_query: aggregates with the columns of `Slice` and of `Stored`.
    """

    slice_query: LiteralString
    newest_query: LiteralString

    def migrate(self) -> None:
        """Bring the schema up to date. Several replicas may do this at once."""

    def write(self, comments: Sequence[NewComment]) -> None:
        """Store all or none, durably. Not thread-safe. An empty list proves that it can write."""

    def slice(self, content_id: str, after: int, limit: int) -> Slice:
        """At most `limit` comments with an id greater than `after`, the oldest first."""
        items, count, *last = self._row(self.slice_query, (content_id, after, limit))
        return Slice(items or b"", count, Stored(*last) if count else None)

    def newest(self, content_id: str) -> Stored | None:
        """The newest comment of a thread; None for an unknown thread."""
        newest = Stored(*self._row(self.newest_query, (content_id,)))
        return newest if newest.id else None

    def read(self) -> None:
        """Prove that it can be read."""
        self._row("SELECT max(id) FROM comments", ())

    def size_bytes(self) -> int:
        """The size of the database."""

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a SELECT, with `?` for values. For moderation, as are the next three."""

    def transaction(self) -> AbstractContextManager[Run]:
        """All or nothing, while no other process writes."""

    def scrub(self) -> None:
        """Remove erased data from the database's own files."""

    def kept(self) -> list[str]:
        """The names of databases that restores have replaced and kept."""

    def close(self) -> None:
        """Release connections and threads. No call may follow."""

    def _row(self, sql: LiteralString, values: tuple[str | int, ...]) -> tuple[Any, ...]:
        """The only row of an aggregate."""


class Storage:
    """An engine that is migrated on first use. Concurrent writes share one commit.

    wait_seconds: how long a page waits for its turn, and everybody for another one's migration. With a database that
        hangs they would else wait for each other.
    """

    def __init__(self, engine: Engine, wait_seconds: float):
        self.engine = engine
        self._wait_seconds = wait_seconds
        self._writer = GroupWriter(self._write)
        self._migrated = False
        self._migrating = threading.Lock()
        self._turns: SimpleQueue[None] = SimpleQueue()
        for _ in range(READERS):
            self._turns.put(None)

    def prepare(self) -> None:
        """Migrate now if the database is available; otherwise the first successful call does."""
        try:
            self.ensure_migrated()
        except StorageError as error:
            log.error("not ready: %s", error)

    def ensure_migrated(self) -> None:
        if self._migrated:
            return
        if not self._migrating.acquire(timeout=self._wait_seconds):
            raise StorageUnavailable(f"the schema was not brought up to date within {self._wait_seconds} s")
        try:
            if not self._migrated:
                self.engine.migrate()
                # Before the first list: a restore may have brought back erased comments.
                Moderation(self.engine).resume()
                self._migrated = True
        finally:
            self._migrating.release()

    def add(self, comment: NewComment) -> None:
        """Store one comment durably: it survives a power cut."""
        self._writer.submit(comment)

    def page(self, content_id: str, after: int, limit: int, max_bytes: int) -> Page:
        """The comments after `after` that `max_bytes` hold: at most `limit`, at least one if there is one.

        Read slice by slice, so that it costs the same whatever the thread's length. Of the slice that does not fit
        any more, as many comments are read again as should fit by their average.
        """
        self.ensure_migrated()
        try:
            self._turns.get(timeout=self._wait_seconds)
        except Empty:
            raise StorageUnavailable(f"{READERS} other lists were not read within {self._wait_seconds} s") from None
        try:
            return self._page(content_id, after, limit, max_bytes)
        finally:
            self._turns.put(None)

    def _page(self, content_id: str, after: int, limit: int, max_bytes: int) -> Page:
        parts = [b"["]
        count, left, step = 0, max_bytes - len(b"[]"), SLICE
        read: Stored | None = None
        # A comment that is hidden while slices are read may be in one of them: the next revision must be another.
        revision: int | None = None
        while True:
            asked = min(step, limit - count)
            items, found, last = self.engine.slice(content_id, after, asked)
            if len(items) > left and (found > 1 or count):
                step = left * found // len(items)
                if step > 0 or not count:
                    step = max(step, 1)
                    continue
                break
            if last is not None:
                parts += (b",", items) if count else (items,)
                count += found
                left -= len(items) + len(b",")
                after, read = last.id, last
                revision = last.revision if revision is None else revision
            if found < asked:
                newest = read or self.engine.newest(content_id)
                if newest is None or newest.id <= after:
                    return Page(b"".join((*parts, b"]")), count, None, _as_of(newest, revision))
                # A comment arrived in the meantime. A page must not name a newest comment that it lacks.
            elif count == limit or (step < SLICE and left < max_bytes // 4):
                break
        newest = self.engine.newest(content_id)
        more = newest is not None and newest.id > after
        return Page(b"".join((*parts, b"]")), count, after if more else None, _as_of(newest, revision))

    def newest(self, content_id: str) -> Stored | None:
        self.ensure_migrated()
        return self.engine.newest(content_id)

    def ping(self) -> None:
        """Write and read once; raises `StorageError` when either fails."""
        self._writer.submit(None)
        self.engine.read()

    def close(self) -> None:
        """Close the database. No call may follow."""
        self.engine.close()

    def _write(self, batch: list[NewComment | None]) -> None:
        self.ensure_migrated()
        self.engine.write([comment for comment in batch if comment is not None])


def _as_of(newest: Stored | None, revision: int | None) -> Stored | None:
    return newest._replace(revision=revision) if newest and revision is not None else newest
