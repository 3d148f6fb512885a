"""Terraform with AWS's APIs on this machine.

What takes long runs beside all other tests, from the first one on, since it mostly waits: in processes of its own, in
which no test replaces anything.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cli.venv import environment
from tests.parts.terraform import files, workspace
from tests.parts.terraform.files import Tested
from tests.parts.terraform.full_cycle import Life, live
from tests.support.site import ROOT

LOCK = ROOT / "requirements" / "checkov.txt"
RUNNING = pytest.StashKey[dict[str, "Future[Any]"]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Starts what the chosen tests need."""
    items = [item for item in session.items if isinstance(item, pytest.Function)]
    needed = {name for item in items for name in item.fixturenames}
    passing = [item.callspec.params for item in items if item.originalname == "test_passes"]
    chosen = {(one["part"], one["name"]) for one in passing}
    works = {"life": live, "tested": partial(files.run, chosen)}
    if session.config.option.collectonly or not needed & works.keys():
        return (yield)
    with (
        tempfile.TemporaryDirectory(prefix="comentarios-terraform-") as folder,
        ProcessPoolExecutor(len(works), multiprocessing.get_context("spawn")) as pool,
    ):
        session.stash[RUNNING] = {
            name: pool.submit(workspace.inside, Path(folder, name), work)
            for name, work in works.items()
            if name in needed
        }
        return (yield)


@pytest.fixture(scope="session")
def life(request: pytest.FixtureRequest) -> Life:
    """What one life in an empty account showed."""
    done: Life = request.session.stash[RUNNING]["life"].result()
    return done


@pytest.fixture(scope="session")
def tested(request: pytest.FixtureRequest) -> Tested:
    """What `terraform test` said of each folder."""
    done: Tested = request.session.stash[RUNNING]["tested"].result()
    return done


@pytest.fixture(scope="session")
def checkov() -> Path:
    """checkov in a virtual environment of its own, remade when its lock changes: its pins conflict with the rest."""
    folder = ROOT / ".venv" / "checkov"
    stamp = folder / "lock"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        uv: list[str | Path] = [ROOT / ".venv" / "bin" / "uv", "pip", "install", "--quiet", "--require-hashes"]
        subprocess.run([*uv, "--python", folder / "bin" / "python", "-r", LOCK], env=environment(), check=True)
        stamp.write_text(wanted)
    return folder / "bin" / "checkov"
