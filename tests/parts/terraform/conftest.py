"""Terraform against AWS's APIs on this machine. What takes long runs beside the rest, each on a server of its own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cli.venv import environment
from tests.parts.terraform import buckets as both_buckets
from tests.parts.terraform.buckets import Buckets
from tests.parts.terraform.emulator import Emulator
from tests.parts.terraform.files import FILES
from tests.parts.terraform.full_cycle import Life, live
from tests.parts.terraform.workspace import Workspace
from tests.support.site import ROOT

T = TypeVar("T")
LOCK = ROOT / "requirements" / "checkov.txt"
Futures = dict[str, "Future[Any]"]


def _in_a_workspace(folder: Path, work: Callable[[Workspace, Emulator], T]) -> T:
    folder.mkdir()
    emulator = Emulator(folder)
    workspace = Workspace(folder, emulator)
    try:
        return work(workspace, emulator)
    finally:
        workspace.close()
        emulator.stop()


def _terraform_test(files: dict[str, list[str]]) -> Callable[[Workspace, Emulator], dict[str, tuple[int, str]]]:
    """One command for a folder's files: each destroys what it made."""

    def work(workspace: Workspace, _: Emulator) -> dict[str, tuple[int, str]]:
        done: dict[str, tuple[int, str]] = {}
        for part, names in files.items():
            folder = getattr(workspace, part)
            workspace.run(folder, "init", "-backend=false")
            filters = [f"-filter=tests/{name}.tftest.hcl" for name in names]
            ended = workspace.finish(workspace.start(folder, "test", *filters))
            done |= {f"{part}/{name}": ended for name in names}
        return done

    return work


@pytest.fixture(scope="session")
def background(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Futures]:
    """What the chosen tests need, started side by side: most of its time each waits.

    `life`, `buckets`, and for each `<folder>/<file>` of `terraform test` its whole line.
    """
    chosen = [item for item in request.session.items if isinstance(item, pytest.Function)]
    folder = tmp_path_factory.mktemp("terraform")
    futures: Futures = {}
    with ThreadPoolExecutor(max_workers=16) as pool:
        needed = {name for item in chosen for name in item.fixturenames}
        for name, work in (("life", live), ("buckets", both_buckets.make)):
            if name in needed:
                futures[name] = pool.submit(_in_a_workspace, folder / name, work)
        passing = [item.callspec.params for item in chosen if item.originalname == "test_passes"]
        wanted = {(one["part"], one["name"]) for one in passing}
        for number, line in enumerate(FILES):
            files = {part: [name for name in names if (part, name) in wanted] for part, names in line.items()}
            files = {part: names for part, names in files.items() if names}
            if files:
                future = pool.submit(_in_a_workspace, folder / f"test-{number}", _terraform_test(files))
                futures |= {f"{part}/{name}": future for part, names in files.items() for name in names}
        yield futures


@pytest.fixture(scope="session")
def life(background: Futures) -> Life:
    """What one life in an empty account showed."""
    done: Life = background["life"].result()
    return done


@pytest.fixture(scope="session")
def buckets(background: Futures) -> Buckets:
    """Both buckets with their lifecycle rules."""
    done: Buckets = background["buckets"].result()
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
