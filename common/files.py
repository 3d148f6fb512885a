"""Files that are private to their owner, written whole or not at all."""

import contextlib
import os
import stat
from pathlib import Path


def write(path: Path, content: str) -> bool:
    """Writes a private file atomically; returns whether its content changed."""
    if path.exists() and path.read_text() == content:
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Of this process: two at once do not take each other's. Hidden: Ansible reads every other file of an inventory.
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    beside.replace(path)
    return True


def make_private(folder: Path) -> None:
    """Creates a folder, and makes it and its content private to the owner."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if mode & 0o077 and not stat.S_ISLNK(mode):
                path.chmod(stat.S_IMODE(mode) & 0o700)
