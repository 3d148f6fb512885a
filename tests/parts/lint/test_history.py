"""No secret in any file that git has ever had."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support import secrets
from tests.support.site import ROOT


def test_no_secret_in_any_version(tmp_path: Path) -> None:
    paths = _versions(tmp_path)
    assert len(paths) > 100
    found = secrets.unknown(tmp_path, paths)
    assert not found, "revoke it and take it out of the history, or say in tests/support/secrets.py why it is none"


def _versions(folder: Path) -> dict[str, str]:
    """Writes every version of every file that git has; name there → path."""
    listed = _git("rev-list", "--objects", "--all").decode().splitlines()
    named = dict(line.split(" ", 1) for line in listed if " " in line)
    content = _git("cat-file", "--batch", given="\n".join(named).encode())
    position, paths = 0, {}
    while position < len(content):
        end = content.index(b"\n", position)
        identity, kind, size = content[position:end].decode().split()
        if kind == "blob":
            name = f"{identity}-{named[identity].replace('/', '_')}"
            (folder / name).write_bytes(content[end + 1 : end + 1 + int(size)])
            paths[name] = named[identity]
        position = end + 2 + int(size)
    return paths


def _git(*arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, input=given, capture_output=True, check=True).stdout
