"""Liveness and readiness: /healthz and /readyz."""

import time

from flask import Flask, Response

from . import replies
from .config import Settings
from .draining import Draining
from .errors import to_flask
from .metrics import Metrics
from .replies import Reply
from .storage import Storage


def init_app(app: Flask, settings: Settings, storage: Storage, draining: Draining, metrics: Metrics) -> None:
    built = {"version": settings.version, "commit": settings.commit}
    alive = Reply(200, replies.encode({"status": "SUCCESS", "message": "alive", **built}))
    ready = Reply(200, replies.encode({"status": "SUCCESS", "message": "ready"}))
    stopping = replies.error(503, "stopping", headers=(("Retry-After", "1"),))

    def healthz() -> Response:
        """200 as long as the process answers."""
        return to_flask(alive)

    def readyz() -> Response:
        """200 if a comment could be written and read now; otherwise, or while stopping, 503."""
        if draining.begun:
            return to_flask(stopping)
        started = time.perf_counter()
        try:
            storage.ping()
        finally:
            metrics.ping_seconds.observe(time.perf_counter() - started)
        return to_flask(ready)

    app.add_url_rule("/healthz", view_func=healthz, provide_automatic_options=False)
    app.add_url_rule("/readyz", view_func=readyz, provide_automatic_options=False)
