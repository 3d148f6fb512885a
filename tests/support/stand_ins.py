"""Fake programs on the PATH: each records its command line and answers by a few lines of shell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


class StandIns:
    """Attributes:
    folder: where they are, first on the PATH; what their shell keeps is there, too (``$HERE``).
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def add(self, name: str, shell: str = "") -> Path:
        """Makes one, or gives it another answer; returns its path."""
        file = self.folder / name
        file.write_text(f'#!/bin/sh\nHERE={self.folder}\nprintf "%s\\n" "{name} $*" >> "$HERE/calls"\n{shell}\n')
        file.chmod(0o755)
        return file

    @property
    def calls(self) -> list[str]:
        """The command lines so far."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []
