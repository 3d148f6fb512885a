"""A hundred backups of a database during writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from comentarios_backup import __main__ as program

from tests.support.backup import NoContainers, backups_under_writes, s3_api, settings_in


def test_hundred_backups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "Stack", NoContainers)
    with s3_api():
        assert len(backups_under_writes(settings_in(tmp_path), 100)) == 100
