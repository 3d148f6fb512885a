"""The journal of what the AWS APIs were told: a file of lines, each bound to its answer and to the lines before it.

The first line names moto's version and the seed of all randomness. Beside the file ``<name>.end`` says how far it goes,
because a file alone cannot tell that its end is missing. Whatever does not fit is an error, and nothing is repaired by
guessing: the hosts and volumes that the APIs speak of hold data.
"""

from __future__ import annotations

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
NOTHING = "nothing was changed or removed"


def now() -> float:
    """Seconds since 1970, as exact as the journal keeps them."""
    return round(time.time(), 3)


@dataclass(frozen=True)
class Entry:
    """A request: its number, when it came, and what it was made of."""

    number: int
    time: float
    environ: Environ
    body: bytes

    @property
    def nonce(self) -> str:
        return str(self.number)


class Journal:
    """A journal, made when there is none; ``entries`` must be read to their end before anything is added.

    Attributes:
        seed: random, and as secret as what moto makes of it.
        created: seconds since 1970.
        count: how many entries it has so far.

    Raises:
        CommandError: it is of another version, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._end = path, path.with_name(f"{path.name}.end")
        if not path.exists() and self._known_end()[0]:
            raise CommandError(
                f"{path} is missing, which said what the AWS APIs were told: put it back, or `make down` removes "
                f"the sandbox with its data; {NOTHING}"
            )
        if not path.exists():
            head = {"format": FORMAT, "moto": VERSION, "created": now(), "seed": secrets.token_hex(32)}
            files.write(path, json.dumps(head) + "\n")
        content = path.read_bytes()
        # The power went while the last line was written: that request was never answered.
        self._size = content.rfind(b"\n") + 1
        self._lines = content[: self._size].splitlines()
        told = self._head()
        self.seed, self.created = str(told["seed"]), float(told["created"])
        self.count, self._digest = 0, hashlib.sha256(self._lines[0]).hexdigest()
        self._descriptor = os.open(path, os.O_WRONLY)

    def entries(self) -> Iterator[Entry]:
        """Every entry, the oldest first; after each ``check`` must be called with its answer."""
        for number, line in enumerate(self._lines[1:], 1):
            try:
                found = json.loads(line)
                yield Entry(number, found["time"], found["environ"], base64.b64decode(found["body"]))
            except (ValueError, KeyError, TypeError):
                raise self._spoilt(f"its line {number + 1} was cut or edited") from None
        count, _ = self._known_end()
        if count > self.count:
            raise self._spoilt(f"it has {self.count} of {count} entries")
        self._lines.clear()
        self.release()
        self._write_end()

    def check(self, entry: Entry, answer: Answer) -> None:
        """Compares the answer that an entry gets now with the one that it got.

        Raises:
            CommandError: they differ.
        """
        digest = self._bound(entry, answer)
        if json.loads(self._lines[entry.number]).get("digest") != digest:
            raise self._spoilt(
                f"its line {entry.number + 1} is not answered as it was: it was edited, or the sandbox is another one"
            )
        if self._known_end()[0] == entry.number and self._known_end()[1] != digest:
            raise self._spoilt(f"it is another one than {self._end.name} belongs to")
        self.count, self._digest = entry.number, digest

    def reserve(self, entry: Entry) -> None:
        """Takes the room that the entry will need, so that a full disk is found before anything has happened.

        Raises:
            OSError: there is none.
        """
        os.posix_fallocate(self._descriptor, self._size, len(self._line(entry, "0" * 64)))

    def release(self) -> None:
        """Gives back the room that was taken, and what the power cut."""
        os.ftruncate(self._descriptor, self._size)

    def add(self, entry: Entry, answer: Answer) -> None:
        """Appends an entry with its answer; once it returns, both survive a power cut."""
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
            raise self._spoilt("its first line is not that of a journal of this version") from None
        if version != (FORMAT, VERSION):
            raise CommandError(
                f"{self._path} was written with moto {head['moto']}, and {VERSION} is installed, which may answer "
                f"otherwise: go back to the commit that had it, or `make down` removes the sandbox with its data; "
                f"{NOTHING}"
            )
        return dict(head)

    def _spoilt(self, what: str) -> CommandError:
        return CommandError(
            f"{self._path} does not say any more what the AWS APIs were told: {what}. Put the right one back, or "
            f"`make down` removes the sandbox with its data; {NOTHING}"
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
        # In place and of one length: never more than the journal has, whenever the power goes.
        descriptor = os.open(self._end, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, f"{self.count:012} {self._digest}\n".encode(), 0)
        finally:
            os.close(descriptor)
