"""What Granian loads in its worker. The process above it, which only waits for signals, needs no Flask in memory."""

import signal

from flask import Flask

from . import app


def create_app() -> Flask:
    """The application, in a process whose main thread looks for signals every second.

    That thread sleeps until SIGTERM. One that comes just before it falls asleep does not wake it (CPython's
    `lock.acquire`), and Granian sends no second.
    """
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1, 1)
    return app.create_app()
