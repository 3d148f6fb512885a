"""The backup program as root, with a real PostgreSQL and a folder of another user."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comentarios_backup import __main__ as program
from comentarios_backup import sqlite
from comentarios_backup.settings import Settings
from postgres import Postgres

from tests.support.backup import NoContainers, s3_api, settings_in

# The user of the API's image.
API = 10001


@pytest.fixture(autouse=True)
def no_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "Stack", NoContainers)


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    with s3_api() as client:
        yield client


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    server = Postgres.create()
    yield server
    server.remove()


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user may pass through: pytest's own is its user's alone."""
    made = Path(tempfile.mkdtemp(prefix="comentarios-backup-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def settings(folder: Path, s3: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A host's settings; the database's folder is the API's, as role stack makes it."""
    # The host's interpreter, and the library where other users may read it, whoever's this checkout is.
    shutil.copytree(Path(sqlite.__file__).parent, folder / "library" / "comentarios_backup")
    monkeypatch.setattr(sqlite, "__file__", str(folder / "library" / "comentarios_backup" / "sqlite.py"))
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    made = settings_in(folder)
    data = made.sqlite_file.parent
    os.chown(data, API, API)
    data.chmod(0o750)
    return made
