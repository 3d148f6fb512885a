"""Serve the API: `python -m comentarios.serve`, PID 1 of the container."""

import sys
import threading

from granian import Granian
from granian.constants import Interfaces, RuntimeModes

from .config import ConfigError, Settings
from .lifecycle import Lifecycle

# One process; as many threads as requests may wait for one commit together. The single-threaded runtime: in the other
# one, by its source, the thread that waits for the last request's end can miss it (docs/decisions.md).
OPTIONS = {
    "interface": Interfaces.WSGI,
    "runtime_mode": RuntimeModes.st,
    "workers": 1,
    "blocking_threads": 32,
    "workers_kill_timeout": 30,
    "log_enabled": False,
}


class Server(Granian):
    """Granian that tells its worker to drain before it stops it."""

    def __init__(self, lifecycle: Lifecycle, drain_seconds: float, **options):
        super().__init__("comentarios.worker:create_app", **options)
        self._lifecycle = lifecycle
        self._drain_seconds = drain_seconds

    def signal_handler_interrupt(self, *args, **kwargs):
        if self._lifecycle.draining or self._drain_seconds == 0:
            self._lifecycle.drain()
            super().signal_handler_interrupt()
            return
        self._lifecycle.drain()
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
        Lifecycle.of_process(),
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
