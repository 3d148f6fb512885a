"""A lock for this host, which the kernel releases when the process ends."""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .settings import ReleaseError


@contextmanager
def hold(folder: Path, owner: str, wait: bool = False) -> Iterator[None]:
    """Holds the folder's lock during the block.

    Args:
        owner: the holder's name, as shown to others.
        wait: whether to wait for the lock instead of failing.

    Raises:
        ReleaseError: somebody else holds it; the message names them.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise ReleaseError(f"{_told(file.read())}: wait until that has ended") from None
        file.truncate(0)
        file.write(json.dumps({"owner": owner, "since": time.time()}))
        file.flush()
        yield


def _told(text: str) -> str:
    try:
        held = json.loads(text)
        return f"{held['owner']} works on this host since {clock(held['since'])}"
    except (ValueError, KeyError, TypeError):
        # The holder has not written its name yet.
        return "somebody else works on this host"


def clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(seconds))
