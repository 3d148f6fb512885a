"""Files of the sandbox: in its state folder, and copied into containers."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

from sandbox.errors import SandboxError


def write(path: Path, content: str) -> bool:
    """Writes a file of the owner's alone, whole or not at all; returns whether its content changed."""
    if path.exists() and path.read_text() == content:
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    beside.replace(path)
    return True


def make_private(folder: Path) -> None:
    """Makes a folder, and lets nobody but the owner into it and into whatever is in it already."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if mode & 0o077 and not stat.S_ISLNK(mode):
                path.chmod(stat.S_IMODE(mode) & 0o700)


def copy_into(container: str, content: dict[str, str], uid: int = 0, mode: int = 0o644) -> None:
    """Writes files into a container that need not run yet.

    Args:
        content: paths without the leading slash, and what each is to hold. Folders that are missing are made.
        uid: the files' owner.
    """
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, text in content.items():
            data = text.encode()
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.uid, entry.gid = len(data), mode, uid, uid
            tar.addfile(entry, io.BytesIO(data))
    done = subprocess.run(
        ["docker", "cp", "-", f"{container}:/"], input=archive.getvalue(), capture_output=True, check=False
    )
    if done.returncode:
        raise SandboxError(f"copying files into {container}: {done.stderr.decode().strip()}")
