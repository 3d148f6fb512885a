"""Free ports of 127.0.0.1, for servers that cannot report the port that they chose."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import TypeVar

T = TypeVar("T")
TRIES = 5


class Ended(Exception):
    """A server ended before it answered; the message is what it printed."""


def on_free_ports(start: Callable[[list[int]], T], count: int = 1) -> T:
    """Starts a server on so many free ports and returns what `start` does.

    Another process may take a port before the server does: it ends then, and is started again on others.

    Raises:
        Ended: it ended each time.
    """
    for _ in range(TRIES - 1):
        try:
            return start(_free(count))
        except Ended:
            continue
    return start(_free(count))


def _free(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in taken]
