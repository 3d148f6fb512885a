"""One release at a time: a lock with its owner, since when, and until when at the latest."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from .files import read_json, write_json
from .settings import ReleaseError


@dataclass
class Lock:
    """Attributes:
    owner: who holds it, for people.
    token: which run of theirs, for comparison.
    since, expires: seconds since the epoch.
    """

    owner: str
    token: str
    since: float
    expires: float


class LockFile:
    """The lock in a folder. It outlives processes: the owner is a controller on another machine."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time):
        self._file = folder / "lock.json"
        self._guard = folder / ".guard"
        self._now = now

    def holder(self) -> Lock | None:
        """Who holds it now; None when nobody does, or the lock has expired."""
        held = read_json(self._file)
        lock = Lock(**held) if held else None
        return lock if lock and lock.expires > self._now() else None

    def take(self, owner: str, token: str, seconds: float, abandoned: tuple[str, ...] = ()) -> None:
        """Takes the lock, or renews it when the token is the holder's.

        abandoned: tokens of runs that are known to have died: their lock does not count.

        Raises:
            ReleaseError: somebody else holds it; the message names them and until when.
        """
        with self._alone():
            held, now = self.holder(), self._now()
            if held and held.token != token and held.token not in abandoned:
                raise ReleaseError(
                    f"{held.owner} is releasing on this host since {clock(held.since)}: wait until that has ended "
                    f"(the lock expires at {clock(held.expires)} if nobody renews it)"
                )
            since = held.since if held and held.token == token else now
            write_json(self._file, asdict(Lock(owner, token, since, now + seconds)))

    def renew(self, owner: str, token: str, seconds: float) -> None:
        """The same by the release itself, which goes on whatever became of its lock."""
        with self._alone():
            held, now = read_json(self._file), self._now()
            since = held["since"] if held and held["token"] == token else now
            write_json(self._file, asdict(Lock(owner, token, since, now + seconds)))

    def release(self, token: str) -> None:
        """Gives the lock back if it is this token's."""
        with self._alone():
            held = read_json(self._file)
            if held and held["token"] == token:
                self._file.unlink()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = os.open(self._guard, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(seconds))
