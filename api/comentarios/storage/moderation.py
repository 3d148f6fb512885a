"""Moderation: search, hide and unhide comments, erase an address. The audit log records each change.

SQL that both engines know, with `?` for values.
"""

import re
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .base import Engine

# The statements of a transaction: `run(sql, *values)` returns the rows.
Run = Callable[..., list[tuple[Any, ...]]]

# A hidden comment is in a thread of this name and its own. It is longer than a content_id may be, so no request finds
# it: not even with an older release, which knows nothing of hidden comments.
HIDDEN = "hidden".ljust(256, "/")
# An erased comment is an empty row: without it, SQLite would give the highest id out again, and cursors would skip a
# comment.
ERASED = "[erased]"

# Addresses within a text, in their common form. Possessive: the time must not grow with the square of a text's length.
ADDRESS = re.compile(r"(?<![\w.+'-])[.+'-]*+([\w.+'-]++@[\w-]++(?:\.[\w-]++)+)")
# Comments per read and per transaction of an erasure. Others write in between, and memory stays small.
BATCH = 200

SEARCH = "SELECT id, created_ms, content_id, email, comment FROM comments WHERE {} ORDER BY id DESC LIMIT ?"
ERASE = "UPDATE comments SET content_id = '', email = '', comment = '' WHERE id = ? AND email <> '' RETURNING id"
REDACT = "UPDATE comments SET comment = ? WHERE id = ? AND comment = ? RETURNING id"
RECORD = "INSERT INTO audit (id, who, action, subject, comments, why, done_ms) VALUES (?, ?, ?, ?, ?, ?, ?)"


class ModerationError(Exception):
    """One line: what is wrong, and what to do."""


class Erased(NamedTuple):
    """comments: of the address. texts: others' comments that had it in their text."""

    comments: int
    texts: int


class Moderation:
    """`engine`: migrated."""

    def __init__(self, engine: "Engine"):
        self._engine = engine

    def search(
        self,
        limit: int,
        thread: str = "",
        email: str = "",
        text: str = "",
        since_ms: int | None = None,
        until_ms: int | None = None,
    ) -> list[dict[str, Any]]:
        """The newest comments that match, hidden ones too; case matters in `thread` only."""
        filters: dict[str, tuple[object, ...]] = {"content_id <> ''": ()}
        if thread:
            filters["content_id IN (?, ?)"] = (thread, HIDDEN + thread)
        if email:
            filters["lower(email) = lower(?)"] = (email,)
        if text:
            literal = re.sub(r"([\\%_])", r"\\\1", text)
            filters[r"lower(comment) LIKE lower(?) ESCAPE '\'"] = (f"%{literal}%",)
        if since_ms is not None:
            filters["created_ms >= ?"] = (since_ms,)
        if until_ms is not None:
            filters["created_ms < ?"] = (until_ms,)
        found = self._engine.rows(SEARCH.format(" AND ".join(filters)), *chain(*filters.values()), limit)
        return [
            {
                "id": id_,
                "created_ms": created_ms,
                "thread": content_id.removeprefix(HIDDEN),
                "email": email,
                "comment": comment,
                "hidden": content_id.startswith(HIDDEN),
            }
            for id_, created_ms, content_id, email, comment in found
        ]

    def hide(self, ids: Sequence[int], who: str, why: str) -> list[int]:
        """Take comments out of their threads; returns those that were not hidden already."""
        return self._move("hide", ids, who, why)

    def unhide(self, ids: Sequence[int], who: str, why: str) -> list[int]:
        """Put hidden comments back into their places; returns those that were hidden."""
        return self._move("unhide", ids, who, why)

    def erase(self, email: str, who: str, why: str) -> Erased:
        """Erase the comments of an address, and the address itself from all other texts."""
        digest = _digest(email)
        with self._engine.transaction() as run:
            why = _redacted(why, lambda address: _digest(address) == digest)
            entry = _now(run)
            run(RECORD, entry, who, "erase", digest, 0, why, 0)
        return self.resume().get(entry, Erased(0, 0))

    def audit(self, limit: int) -> list[dict[str, Any]]:
        """The newest entries of the audit log; `id` is when, in milliseconds."""
        columns = ("id", "who", "action", "subject", "comments", "why", "done_ms")
        found = self._engine.rows(f"SELECT {', '.join(columns)} FROM audit ORDER BY id DESC LIMIT ?", limit)
        return [dict(zip(columns, row, strict=True)) for row in found]

    def resume(self) -> dict[int, Erased]:
        """Complete unfinished entries of the audit log, after an interruption or a restore.

        A restore takes along what was recorded after its backup (role backup).
        """
        pending = self._engine.rows("SELECT id, action, subject FROM audit WHERE done_ms = 0 ORDER BY id")
        for entry, action, subject in pending:
            # Not one of a later release, which knows what to do with it.
            if action in ("hide", "unhide"):
                with self._engine.transaction() as run:
                    # A replica that started at the same time may have done it, and an operator undone it since.
                    if not run("SELECT id FROM audit WHERE id = ? AND done_ms = 0", entry):
                        continue
                    id_, created_ms = map(int, subject.split("@"))
                    # After a restore, ids may repeat, but not together with the time.
                    found = _find(run, id_)
                    moved = bool(found and found[1] == created_ms and _set_hidden(run, id_, found[0], action == "hide"))
                    run("UPDATE audit SET comments = ?, done_ms = ? WHERE id = ?", int(moved), _now(run), entry)
        erasures = {subject: entry for entry, action, subject in pending if action == "erase"}
        return self._sweep(erasures) if erasures else {}

    def _move(self, action: str, ids: Sequence[int], who: str, why: str) -> list[int]:
        moved = []
        with self._engine.transaction() as run:
            for id_ in dict.fromkeys(ids):
                found = _find(run, id_)
                if not found:
                    raise ModerationError(
                        f"there is no comment {id_}, and nothing was changed: `make comments` lists them"
                    )
                content_id, created_ms = found
                if _set_hidden(run, id_, content_id, action == "hide"):
                    now = _now(run)
                    run(RECORD, now, who, action, f"{id_}@{created_ms}", 1, why, now)
                    moved.append(id_)
        return moved

    def _sweep(self, erasures: dict[str, int]) -> dict[int, Erased]:
        """Erase addresses.

        erasures: the address's digest → the entry of the audit log.
        """
        comments, texts = dict.fromkeys(erasures.values(), 0), dict.fromkeys(erasures.values(), 0)

        def named(address: str) -> bool:
            return _digest(address) in erasures

        after = 0
        while batch := self._engine.rows(
            "SELECT id, email, comment FROM comments WHERE id > ? ORDER BY id LIMIT ?", after, BATCH
        ):
            after = batch[-1][0]
            own = [(id_, erasures[digest]) for id_, email, _ in batch if (digest := _digest(email)) in erasures]
            others = [(id_, text) for id_, email, text in batch if "@" in text and not named(email)]
            changed = [(id_, text, new) for id_, text in others if (new := _redacted(text, named)) != text]
            if own or changed:
                # What another replica has erased since is not counted again.
                with self._engine.transaction() as run:
                    for id_, entry in own:
                        comments[entry] += len(run(ERASE, id_))
                    for id_, text, new in changed:
                        redacted = len(run(REDACT, new, id_, text))
                        for entry in {erasures[_digest(one)] for one in ADDRESS.findall(text) if named(one)}:
                            texts[entry] += redacted
        with self._engine.transaction() as run:
            for entry, why in run("SELECT id, why FROM audit"):
                if (new := _redacted(why, named)) != why:
                    run("UPDATE audit SET why = ? WHERE id = ?", new, entry)
        self._engine.scrub()
        with self._engine.transaction() as run:
            now = _now(run)
            for digest, entry in erasures.items():
                run("UPDATE audit SET comments = comments + ? WHERE id = ?", comments[entry], entry)
                # Earlier ones too, that were interrupted.
                run("UPDATE audit SET done_ms = ? WHERE done_ms = 0 AND subject = ? AND id <= ?", now, digest, entry)
        return {entry: Erased(count, texts[entry]) for entry, count in comments.items()}


def _find(run: Run, id_: int) -> tuple[str, int] | None:
    """The thread and the time of a comment."""
    found = run("SELECT content_id, created_ms FROM comments WHERE id = ? AND content_id <> ''", id_)
    return (found[0][0], found[0][1]) if found else None


def _set_hidden(run: Run, id_: int, content_id: str, hidden: bool) -> bool:
    """Hide a comment or show it; False if it is so already."""
    if content_id.startswith(HIDDEN) == hidden:
        return False
    place = HIDDEN + content_id if hidden else content_id.removeprefix(HIDDEN)
    run("UPDATE comments SET content_id = ? WHERE id = ?", place, id_)
    return True


def _now(run: Run) -> int:
    """The time, but later than all times in the log: lists' ETags contain the last one at which comments changed."""
    ((last, done_ms),) = run("SELECT max(id), max(done_ms) FROM audit")
    return max(time.time_ns() // 1_000_000, (last or 0) + 1, (done_ms or 0) + 1)


def _digest(address: str) -> str:
    return sha256(address.casefold().encode()).hexdigest()


def _redacted(text: str, named: Callable[[str], bool]) -> str:
    """`text` without the addresses that are `named`."""
    return ADDRESS.sub(lambda found: found[0].replace(found[1], ERASED) if named(found[1]) else found[0], text)
