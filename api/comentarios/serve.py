"""Serve the API: `python -m comentarios.serve`, PID 1 of the container."""

import sys
import threading
from typing import Any

from granian.constants import HTTPModes, Interfaces, RuntimeModes
from granian.http import HTTP1Settings
from granian.server.mp import MPServer

from .config import ConfigError, Settings
from .draining import Draining

# Seconds after which an idle connection is closed, and one that has sent half a head. Longer than the edge keeps idle
# connections to us: else it sends a request on one that we are just closing.
KEEP_ALIVE_SECONDS = 30

# Connections that are served at a time; more wait to be accepted. What readers that do not read cost is bounded by this
# and Settings.max_reply_bytes. The edge must open fewer, so that there is room for probes.
MAX_CONNECTIONS = 128

# Bytes of a request's head, and of a body that nobody has read yet: each connection may take them.
MAX_HEAD_BYTES = 64 * 1024

# One process; as many threads as requests may wait for one commit together. The single-threaded runtime: in the other
# one, by its source, the thread that waits for the last request's end can miss it (docs/decisions.md). HTTP/1 alone:
# a connection of HTTP/2 may have 200 replies under way.
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
    """Granian that tells its worker to drain before it stops it."""

    def __init__(self, draining: Draining, drain_seconds: float, **options: Any):
        super().__init__("comentarios.worker:create_app", **options)
        self._draining = draining
        self._drain_seconds = drain_seconds

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
        if self._draining.begun or self._drain_seconds == 0:
            self._draining.begin()
            super().signal_handler_interrupt()  # type: ignore[no-untyped-call]
            return
        self._draining.begin()
        timer = threading.Timer(self._drain_seconds, super().signal_handler_interrupt)
        timer.daemon = True
        timer.start()


def main() -> None:
    """Listen on HOST:PORT (0.0.0.0:8000) until SIGTERM or SIGINT; a second signal skips the draining."""
    try:
        settings = Settings.from_env()
    except ConfigError as error:
        sys.exit(f"comentarios: {error}")
    server = Server(
        Draining.of_process(),
        settings.drain_seconds,
        factory=True,
        address=settings.host,
        port=settings.port,
        **OPTIONS,
    )
    try:
        server.serve()
    except RuntimeError as error:
        # Granian's, with a stack of Rust's after the first line.
        reason = str(error).partition("\n")[0]
        sys.exit(f"comentarios: cannot listen on {settings.host}, port {settings.port}: {reason}; PORT moves it")


if __name__ == "__main__":
    main()
