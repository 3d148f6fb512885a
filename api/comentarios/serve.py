"""Serve the API: `python -m comentarios.serve`, PID 1 of the container."""

import sys
import threading
from typing import Any

from granian.constants import HTTPModes, Interfaces, RuntimeModes
from granian.http import HTTP1Settings
from granian.server.mp import MPServer

from .config import ConfigError, Settings
from .draining import PROCESS

# Seconds after which a connection that is idle, or has sent an incomplete header, is closed. Longer than the edge keeps
# idle connections: otherwise it might send a request on one that is just being closed.
KEEP_ALIVE_SECONDS = 30

# Maximum of concurrent connections; further ones wait. Together with Settings.max_reply_bytes, it limits the memory for
# clients that do not read. The edge must open fewer, to leave some for probes.
MAX_CONNECTIONS = 128

# Buffer in bytes, per connection, for a request's header and for its unread body.
MAX_HEAD_BYTES = 64 * 1024

# One process, with as many threads as requests may share a commit. The single-threaded runtime: in the other one, the
# thread that waits for the end of the last request can miss it (docs/decisions.md). Only HTTP/1: a connection of HTTP/2
# may have 200 open replies.
OPTIONS: dict[str, Any] = {
    "interface": Interfaces.WSGI,
    "http": HTTPModes.http1,
    "websockets": False,
    "http1_settings": HTTP1Settings(header_read_timeout=KEEP_ALIVE_SECONDS * 1000, max_buffer_size=MAX_HEAD_BYTES),
    "backpressure": MAX_CONNECTIONS,
    "runtime_mode": RuntimeModes.st,
    "workers": 1,
    "blocking_threads": 32,
    "workers_kill_timeout": 30,
    "log_enabled": False,
}


class Server(MPServer):
    """Granian, with a worker that drains before it stops."""

    def __init__(self, address: str, port: int, drain_seconds: float):
        super().__init__("comentarios.worker:create_app", address, port, factory=True, **OPTIONS)
        self._drain_seconds = drain_seconds

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
        if PROCESS.begun or self._drain_seconds == 0:
            PROCESS.begin()
            super().signal_handler_interrupt()  # type: ignore[no-untyped-call]
            return
        PROCESS.begin()
        timer = threading.Timer(self._drain_seconds, super().signal_handler_interrupt)
        timer.daemon = True
        timer.start()


def main() -> None:
    """Listen on HOST:PORT (0.0.0.0:8000) until SIGTERM or SIGINT; a second signal skips the draining."""
    try:
        settings = Settings.from_env()
    except ConfigError as error:
        sys.exit(f"comentarios: {error}")
    try:
        Server(settings.host, settings.port, settings.drain_seconds).serve()
    except RuntimeError as error:
        # Granian's error: after the first line follows a stack trace of Rust.
        reason = str(error).partition("\n")[0]
        sys.exit(f"comentarios: cannot listen on {settings.host}, port {settings.port}: {reason}; PORT moves it")


if __name__ == "__main__":
    main()
