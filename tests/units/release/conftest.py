"""A stack without Docker, with one release live."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory import folder_in_memory

from tests.support.world import World, receiver


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with folder_in_memory(tmp_path) as made:
        yield made


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
