"""Liveness and readiness."""

import time

from flask import Flask, Response

from . import replies
from .config import Settings
from .draining import Draining
from .errors import to_flask
from .metrics import Metrics
from .replies import Reply
from .storage import Storage


class Health:
    """/healthz and /readyz."""

    def __init__(self, settings: Settings, storage: Storage, draining: Draining, metrics: Metrics):
        alive = {
            "status": "SUCCESS",
            "message": "alive",
            "version": settings.version,
            "commit": settings.commit,
        }
        self._alive = Reply(200, replies.encode(alive))
        self._ready = Reply(200, replies.encode({"status": "SUCCESS", "message": "ready"}))
        self._stopping = replies.error(503, "stopping", headers=(("Retry-After", "1"),))
        self._storage = storage
        self._draining = draining
        self._metrics = metrics

    def init_app(self, app: Flask) -> None:
        app.add_url_rule("/healthz", view_func=self.healthz, provide_automatic_options=False)
        app.add_url_rule("/readyz", view_func=self.readyz, provide_automatic_options=False)

    def healthz(self) -> Response:
        """200 as long as the process answers."""
        return to_flask(self._alive)

    def readyz(self) -> Response:
        """200 if a comment could be written and read now; otherwise, or while stopping, 503."""
        if self._draining.begun:
            return to_flask(self._stopping)
        started = time.perf_counter()
        try:
            self._storage.ping()
        finally:
            self._metrics.ping_seconds.observe(time.perf_counter() - started)
        return to_flask(self._ready)
