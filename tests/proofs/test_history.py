"""No secret in any line that git has ever had."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support import secrets
from tests.support.site import ROOT


def test_no_secret_in_any_line(tmp_path: Path) -> None:
    """Each line once, whatever number of versions have it: whole files are scanned by `make check` in each commit."""
    lines: dict[str, dict[str, None]] = {}
    path = ""
    for line in _log().splitlines():
        if line.startswith("+++ "):
            path = line.removeprefix("+++ b/").rstrip("\t")
        elif line.startswith("+"):
            lines.setdefault(path, {})[line[1:]] = None
    assert len(lines) > 100
    for name, added in lines.items():
        (tmp_path / name.replace("/", "_")).write_text("\n".join(added))
    found = secrets.unknown(tmp_path, {name.replace("/", "_"): name for name in lines})
    assert not found, "revoke it and take it out of the history, or say in tests/support/secrets.py why it is none"


def _log() -> str:
    """The changes of every commit, a merge's beside its first parent."""
    command = [
        "git",
        "log",
        "--all",
        "--patch",
        "--unified=0",
        "--format=",
        "--no-renames",
        "--diff-merges=first-parent",
    ]
    command += ["--no-color", "--no-ext-diff"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode(errors="replace")
