"""What the application asks of its storage, and what an engine gives."""

import logging
import threading
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from .writer import GroupWriter

log = logging.getLogger("comentarios.storage")


class StorageError(Exception):
    """The database did not do it. `code` and `public` are for the reply, the text is for the log."""

    code = 503
    public = "the database cannot be reached; try again shortly"
    retry_after = 2


class StorageUnavailable(StorageError):
    """No connection, a lock that stayed taken, a read-only or broken file."""


class StorageFull(StorageError):
    """No room for another comment."""

    code = 507
    public = "there is no room left to store comments"
    retry_after = 30


class NewComment(NamedTuple):
    content_id: str
    email: str
    comment: str
    created_ms: int


class Page(NamedTuple):
    """A run of comments of one thread, oldest first.

    items: JSON objects joined by commas, without the brackets; made by the database, which is faster than Python.
    count: how many. last_id: the id of the last, None when there is none.
    """

    items: str
    count: int
    last_id: int | None


class Engine(Protocol):
    """One database. Methods may be called from several threads; each raises only `StorageError`."""

    def migrate(self) -> None:
        """Bring the schema up to date; safe when several replicas do it at once."""

    def write(self, comments: Sequence[NewComment]) -> None:
        """Store all or none, durably, before returning. One call at a time. Empty: prove that it can write."""

    def page(self, content_id: str, after: int, upto: int | None, limit: int) -> Page:
        """Comments with after < id ≤ upto, at most `limit`, oldest first."""

    def nth_id(self, content_id: str, after: int, n: int) -> int | None:
        """The id of the n-th comment after `after`, None when there are fewer."""

    def last_id(self, content_id: str) -> int | None:
        """The newest comment's id, None for a thread never seen."""

    def read(self) -> None:
        """Prove that it can be read."""

    def size_bytes(self) -> int:
        """How much room the database takes."""

    def close(self) -> None:
        """Give back connections and threads; nothing is called after."""


class Storage:
    """An engine, migrated on first use, with writes that arrive together sharing one commit."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self._writer = GroupWriter(self._write)
        self._migrated = False
        self._migrating = threading.Lock()

    def prepare(self) -> None:
        """Migrate now if the database is there; else the first call that finds it will."""
        try:
            self.ensure_migrated()
        except StorageError as error:
            log.error("not ready: %s", error)

    def ensure_migrated(self) -> None:
        if self._migrated:
            return
        with self._migrating:
            if not self._migrated:
                self.engine.migrate()
                self._migrated = True

    def add(self, comment: NewComment) -> None:
        """Store one comment; when this returns it survives a power cut."""
        self._writer.submit(comment)

    def page(self, content_id: str, after: int, upto: int | None, limit: int) -> Page:
        if not self._migrated:
            self.ensure_migrated()
        return self.engine.page(content_id, after, upto, limit)

    def nth_id(self, content_id: str, after: int, n: int) -> int | None:
        self.ensure_migrated()
        return self.engine.nth_id(content_id, after, n)

    def last_id(self, content_id: str) -> int | None:
        self.ensure_migrated()
        return self.engine.last_id(content_id)

    def ping(self) -> None:
        """Write and read once; raises `StorageError` when either fails."""
        self._writer.submit(None)
        self.engine.read()

    def size_bytes(self) -> int:
        return self.engine.size_bytes()

    def close(self) -> None:
        """Let go of the database; nothing may be asked after."""
        self.engine.close()

    def _write(self, batch: list[NewComment | None]) -> None:
        self.ensure_migrated()
        self.engine.write([comment for comment in batch if comment is not None])
