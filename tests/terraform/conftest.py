"""Terraform against AWS's APIs on this machine. What takes long runs beside the rest, each on a server of its own."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from verbs.venv import environment  # noqa: E402 - found by the line above

from . import buckets as both_buckets  # noqa: E402
from .buckets import Buckets  # noqa: E402
from .emulator import Emulator  # noqa: E402
from .life import Life, live  # noqa: E402
from .workspace import Workspace  # noqa: E402

T = TypeVar("T")
LOCK = ROOT / "requirements" / "checkov.txt"
BACKGROUND = pytest.StashKey[tuple[dict[str, Future[Any]], ThreadPoolExecutor, Path]]()

# Each line in an account of its own; what is on one line, one after the other.
FILES = (
    (("host", "host"),),
    (("host", "two_hosts"),),
    (("bootstrap", "bootstrap"), ("bootstrap", "variables"), ("host", "variables")),
)


def _in_a_workspace(folder: Path, work: Callable[[Workspace, Emulator], T]) -> T:
    folder.mkdir()
    emulator = Emulator(folder)
    workspace = Workspace(folder, emulator)
    try:
        return work(workspace, emulator)
    finally:
        workspace.close()
        emulator.stop()


def _terraform_test(files: list[tuple[str, str]]) -> Callable[[Workspace, Emulator], dict[str, tuple[int, str]]]:
    def work(workspace: Workspace, _: Emulator) -> dict[str, tuple[int, str]]:
        done = {}
        for part, name in files:
            folder = getattr(workspace, part)
            workspace.run(folder, "init", "-backend=false")
            test = workspace.start(folder, "test", f"-filter=tests/{name}.tftest.hcl")
            done[f"{part}/{name}"] = workspace.finish(test)
        return done

    return work


def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts what the chosen tests need before the first test of all: most of its time it waits."""
    chosen = [item for item in session.items if isinstance(item, pytest.Function)]
    folder = Path(tempfile.mkdtemp(prefix="comentarios-terraform-"))
    pool = ThreadPoolExecutor(max_workers=16)
    futures: dict[str, Future[Any]] = {}
    if not session.config.option.collectonly:
        needed = {name for item in chosen for name in item.fixturenames}
        for name, work in (("life", live), ("buckets", both_buckets.make)):
            if name in needed:
                futures[name] = pool.submit(_in_a_workspace, folder / name, work)
        passing = [item.callspec.params for item in chosen if item.originalname == "test_passes"]
        wanted = {(one["part"], one["name"]) for one in passing}
        for number, line in enumerate(FILES):
            files = [file for file in line if file in wanted]
            if files:
                future = pool.submit(_in_a_workspace, folder / f"test-{number}", _terraform_test(files))
                futures |= {f"{part}/{name}": future for part, name in files}
    session.stash[BACKGROUND] = futures, pool, folder


def pytest_sessionfinish(session: pytest.Session) -> None:
    if BACKGROUND in session.stash:
        _, pool, folder = session.stash[BACKGROUND]
        pool.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def background(request: pytest.FixtureRequest) -> dict[str, Future[Any]]:
    """What was started: `life`, `buckets`, and for each `<folder>/<file>` of `terraform test` its whole line."""
    return request.session.stash[BACKGROUND][0]


@pytest.fixture(scope="session")
def life(background: dict[str, Future[Any]]) -> Life:
    """What one life in an empty account showed."""
    done: Life = background["life"].result()
    return done


@pytest.fixture(scope="session")
def buckets(background: dict[str, Future[Any]]) -> Buckets:
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
