"""One line for every long step: what it is, and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Says what begins, and in the end, by name because steps may overlap, how many seconds it took."""
    begin = time.monotonic()
    say(f"▸ {what}")
    yield
    say(f"✓ {what} ({time.monotonic() - begin:.1f} s)")


def fail(text: str) -> int:
    """Prints the one line of an error, and returns the exit status."""
    print(f"✗ {text}", file=sys.stderr, flush=True)
    return 1
