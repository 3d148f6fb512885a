"""The journal of requests to the AWS APIs. Each line has a digest of its answer and of the line before.

The first line has moto's version and the seed of all randomness. A second file, ``<name>.end``, holds the number of
entries, since a file cannot show that its own end is missing. Any mismatch is an error. Nothing is repaired by
guessing, because the hosts and volumes hold data.
"""

import base64
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import files
from common.errors import CommandError
from sandbox.machine import VERSION, Answer, Environ

FORMAT = 2
REMOVE, NOTHING = "remove the sandbox and its data with `make down`", "nothing was changed or removed"


def now() -> float:
    """Seconds since 1970, with the journal's precision."""
    return round(time.time(), 3)


@dataclass(frozen=True)
class Entry:
    """A request with its number and time."""

    number: int
    time: float
    environ: Environ
    body: bytes

    @property
    def nonce(self) -> str:
        return str(self.number)


class Journal:
    """A journal, created if missing. Read all ``entries`` before adding one.

    Attributes:
        seed: random and secret: moto derives keys from it.
        created: seconds since 1970.
        count: how many entries it has so far.

    Raises:
        CommandError: it is of another version, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._end = path, path.with_name(f"{path.name}.end")
        if not path.exists() and self._known_end()[0]:
            raise CommandError(f"{path} is missing: restore this journal of the AWS APIs, or {REMOVE}; {NOTHING}")
        if not path.exists():
            head = {"format": FORMAT, "moto": VERSION, "created": now(), "seed": secrets.token_hex(32)}
            files.write(path, json.dumps(head) + "\n")
        content = path.read_bytes()
        # After a power cut the last line may be incomplete; its request was never answered.
        self._size = content.rfind(b"\n") + 1
        self._lines = content[: self._size].splitlines()
        told = self._head()
        self.seed, self.created = str(told["seed"]), float(told["created"])
        self.count, self._digest = 0, hashlib.sha256(self._lines[0]).hexdigest()
        self._descriptor = os.open(path, os.O_WRONLY)

    def entries(self) -> Iterator[Entry]:
        """All entries, the oldest first; call ``check`` with the answer after each."""
        for number, line in enumerate(self._lines[1:], 1):
            try:
                found = json.loads(line)
                yield Entry(number, found["time"], found["environ"], base64.b64decode(found["body"]))
            except (ValueError, KeyError, TypeError):
                raise self._spoilt(f"line {number + 1} was cut or edited") from None
        count, _ = self._known_end()
        if count > self.count:
            raise self._spoilt(f"it has {self.count} of {count} entries")
        self._lines.clear()
        self.release()
        self._write_end()

    def check(self, entry: Entry, answer: Answer) -> None:
        """Compares the answer to an entry with its first answer.

        Raises:
            CommandError: they differ.
        """
        digest = self._bound(entry, answer)
        if json.loads(self._lines[entry.number]).get("digest") != digest:
            raise self._spoilt(
                f"line {entry.number + 1} got another answer than before: it was edited, or belongs to another sandbox"
            )
        if self._known_end()[0] == entry.number and self._known_end()[1] != digest:
            raise self._spoilt(f"it does not match {self._end.name}")
        self.count, self._digest = entry.number, digest

    def reserve(self, entry: Entry) -> None:
        """Reserves space for the entry, so that a full disk is noticed before anything changes.

        Raises:
            OSError: the disk is full.
        """
        os.posix_fallocate(self._descriptor, self._size, len(self._line(entry, "0" * 64)))

    def release(self) -> None:
        """Releases reserved space and an incomplete last line."""
        os.ftruncate(self._descriptor, self._size)

    def add(self, entry: Entry, answer: Answer) -> None:
        """Appends an entry with its answer; both then survive a power cut."""
        digest = self._bound(entry, answer)
        line = self._line(entry, digest)
        os.pwrite(self._descriptor, line, self._size)
        os.fsync(self._descriptor)
        self._size += len(line)
        self.count, self._digest = entry.number, digest
        self._write_end()

    def _head(self) -> dict[str, Any]:
        try:
            head = json.loads(self._lines[0])
            version = head["format"], head["moto"]
        except (ValueError, KeyError, TypeError, IndexError):
            raise self._spoilt("its first line is not from this version") from None
        if version != (FORMAT, VERSION):
            raise CommandError(
                f"{self._path} was written with moto {head['moto']}, but {VERSION} is installed and may answer "
                f"differently: go back to the commit with that version, or {REMOVE}; {NOTHING}"
            )
        return dict(head)

    def _spoilt(self, what: str) -> CommandError:
        return CommandError(
            f"{self._path}, the journal of the AWS APIs, is damaged: {what}. Restore the right one, or "
            f"{REMOVE}; {NOTHING}"
        )

    def _bound(self, entry: Entry, answer: Answer) -> str:
        """A digest of the entry, of its answer, and of the digest before it."""
        told = [self._digest, entry.time, entry.environ, base64.b64encode(entry.body).decode()]
        got = [answer.status, sorted(answer.headers), base64.b64encode(answer.body).decode()]
        return hashlib.sha256(json.dumps([told, got], sort_keys=True).encode()).hexdigest()

    def _line(self, entry: Entry, digest: str) -> bytes:
        body = base64.b64encode(entry.body).decode()
        line = {"digest": digest, "time": entry.time, "environ": entry.environ, "body": body}
        return json.dumps(line).encode() + b"\n"

    def _known_end(self) -> tuple[int, str]:
        try:
            count, digest = self._end.read_text().split()
            return int(count), digest
        except (OSError, ValueError):
            return 0, ""

    def _write_end(self) -> None:
        # Written in place with a fixed length, so that a power cut cannot leave it ahead of the journal.
        descriptor = os.open(self._end, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, f"{self.count:012} {self._digest}\n".encode(), 0)
        finally:
            os.close(descriptor)
