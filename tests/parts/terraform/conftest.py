"""Terraform against AWS's APIs on this machine. What takes long runs beside the rest, each on a server of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from tests.parts.terraform.emulator import Emulator
from tests.parts.terraform.life import Life, live
from tests.parts.terraform.workspace import Workspace

T = TypeVar("T")
# Most of a run is the provider waiting for S3 to agree with itself on a lifecycle rule (55 s each).
BACKGROUND = pytest.StashKey[tuple[dict[str, Future], ThreadPoolExecutor, Path]]()


def _in_a_workspace(folder: Path, work: Callable[[Workspace, Emulator], T]) -> T:
    folder.mkdir()
    emulator = Emulator(folder)
    try:
        return work(Workspace(folder, emulator), emulator)
    finally:
        emulator.stop()


def _terraform_test(part: str, name: str) -> Callable[[Workspace, Emulator], tuple[int, str]]:
    def work(workspace: Workspace, _: Emulator) -> tuple[int, str]:
        folder = getattr(workspace, part)
        workspace.run(folder, "init", "-backend=false")
        return workspace.finish(workspace.start(folder, "test", f"-filter=tests/{name}.tftest.hcl"))

    return work


def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts what the chosen tests need before the first test of all: most of its time it waits."""
    chosen = [item for item in session.items if isinstance(item, pytest.Function)]
    folder = Path(tempfile.mkdtemp(prefix="comentarios-terraform-"))
    pool, futures = ThreadPoolExecutor(), {}
    if not session.config.option.collectonly:
        if any("life" in item.fixturenames for item in chosen):
            futures["life"] = pool.submit(_in_a_workspace, folder / "life", live)
        for item in chosen:
            if item.originalname == "test_passes":
                part, name = item.callspec.params["part"], item.callspec.params["name"]
                place = folder / f"{part}-{name}"
                futures[f"{part}/{name}"] = pool.submit(_in_a_workspace, place, _terraform_test(part, name))
    session.stash[BACKGROUND] = futures, pool, folder


def pytest_sessionfinish(session: pytest.Session) -> None:
    if BACKGROUND in session.stash:
        _, pool, folder = session.stash[BACKGROUND]
        pool.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def background(request: pytest.FixtureRequest) -> dict[str, Future]:
    """What was started for the chosen tests: `life`, and each file of `terraform test` as `<folder>/<file>`."""
    return request.session.stash[BACKGROUND][0]


@pytest.fixture(scope="session")
def life(background: dict[str, Future]) -> Life:
    """What one life in an empty account showed."""
    return background["life"].result()
