"""A stack without Docker, with one release live."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.world import World, receiver

MEMORY = Path("/dev/shm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: records are synced to the disk, which takes 5 ms each."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as made:
        yield Path(made)


@pytest.fixture
def nothing(folder: Path) -> Iterator[World]:
    """A host on which nothing was released yet."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield World.under(folder / "host")
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def world(nothing: World) -> World:
    """A host on which v1 is live."""
    assert nothing.release("v1", rules="rules of v1", others=receiver("one")).outcome == "good"
    nothing.done.clear()
    return nothing
