"""A fake `docker` program whose answers a test defines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class Docker:
    """A `docker` on PATH whose answers are lines of shell, by the beginning of what it is asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self._folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def answers(self, **scripts: str) -> None:
        """The words of a call, with `_` between them, and what the shell does then; anything else ends with 64."""
        cases = "\n".join(f'"{words.replace("_", " ")}"*) {script} ;;' for words, script in scripts.items())
        log = self._folder / "calls"
        script = (
            f'#!/bin/sh\necho "$*" >>{log}\ncase "$*" in\n{cases}\n*) echo "unexpected: $*" >&2; exit 64 ;;\nesac\n'
        )
        (self._folder / "docker").write_text(script)
        (self._folder / "docker").chmod(0o755)

    def calls(self) -> list[str]:
        log = self._folder / "calls"
        return log.read_text().splitlines() if log.exists() else []
