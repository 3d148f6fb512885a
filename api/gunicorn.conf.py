"""gunicorn's configuration, read from its working directory: `cd api && gunicorn api:app`."""

import signal
import sys
import threading
from types import FrameType

from comentarios.config import ConfigError, Settings
from comentarios.draining import Draining

try:
    settings = Settings.from_env()
except ConfigError as error:
    # Here and not in the worker, which gunicorn would restart forever.
    sys.exit(f"comentarios: {error}")

# Threads, so that concurrent comments share a commit. One process, so that its counters are complete.
worker_class = "gthread"
workers = 1
threads = 32
bind = "127.0.0.1:8000"


def post_worker_init(_: object) -> None:
    """On SIGTERM, /readyz answers 503, and the worker keeps serving for DRAIN_SECONDS."""
    stop = signal.getsignal(signal.SIGTERM)
    assert callable(stop)

    def drain(number: int, frame: FrameType | None) -> None:
        draining = Draining.of_process()
        if draining.begun or settings.drain_seconds == 0:
            draining.begin()
            stop(number, frame)
            return
        draining.begin()
        timer = threading.Timer(settings.drain_seconds, lambda: signal.raise_signal(signal.SIGTERM))
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, drain)
