"""A lock for this host, which the kernel releases when the process ends."""

import fcntl
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .records import Records
from .settings import ReleaseError, Settings

UNIT = "comentarios-release.service"


def systemctl(*arguments: str) -> str:
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


@contextmanager
def exclusive(settings: Settings, owner: str, systemctl: Callable[..., str] = systemctl) -> Iterator[None]:
    """Holds the lock of the releases. First, a release that is under way or was interrupted is finished.

    Raises:
        ReleaseError: that release cannot be finished, or somebody else holds the lock.
    """
    records = Records(settings.releases)
    while True:
        if record := records.unfinished():
            # No effect if the unit runs already.
            systemctl("start", UNIT)
            if records.get(record.number).finished is None:
                raise ReleaseError(
                    f"release {record.number} was interrupted and cannot be ended: `journalctl -u {UNIT}`"
                )
        with hold(settings.releases, owner):
            if not records.unfinished():
                try:
                    yield
                finally:
                    # Configuration that became no release; it may contain secrets.
                    shutil.rmtree(records.new, ignore_errors=True)
                return


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
            raise ReleaseError(f"{_holder(file.read())}: wait until that has ended") from None
        file.truncate(0)
        file.write(json.dumps({"owner": owner, "since": time.time()}))
        file.flush()
        yield


def _holder(text: str) -> str:
    try:
        held = json.loads(text)
        since = time.strftime("%H:%M:%S UTC", time.gmtime(held["since"]))
        return f"{held['owner']} has been working on this host since {since}"
    except (ValueError, KeyError, TypeError):
        # The holder has not written its name yet.
        return "somebody else is working on this host"
