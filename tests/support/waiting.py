"""Waiting for conditions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(attempt: Callable[[], T], seconds: float = 60, pause: float = 0.5) -> T:
    """Calls something until it returns a true value without an error, for a bounded time; returns that value."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            value = attempt()
            if value or time.monotonic() > deadline:
                assert value, f"not within {seconds} s"
                return value
        except Exception:
            if time.monotonic() > deadline:
                raise
        time.sleep(pause)
