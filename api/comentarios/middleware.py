"""What surrounds every request. `Comments.fast_path` answers the ordinary ones, Flask all others."""

import random
import re
import time
from http import HTTPMethod
from typing import TYPE_CHECKING, Any

from . import replies
from .comments import Comments
from .config import Settings
from .draining import Draining
from .logs import Lines, request_id_of_thread, request_line
from .metrics import NO_ROUTE, Metrics
from .metrics import PATH as METRICS_PATH

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
METHODS = frozenset(HTTPMethod)
# Bytes of a refused body that are read and discarded.
DISCARDED = 1024 * 1024


class Middleware:
    """WSGI middleware: request id, fast path, log line, requests in flight, `Connection: close` when stopping."""

    def __init__(
        self,
        wsgi_app: "WSGIApplication",
        comments: Comments,
        metrics: Metrics,
        draining: Draining,
        settings: Settings,
    ):
        self._app = wsgi_app
        self._comments = comments
        self._metrics = metrics
        self._draining = draining
        self.lines = Lines()
        self._log_requests = settings.log_level in ("debug", "info")

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        started = time.perf_counter()
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        request_id = environ.get("HTTP_X_REQUEST_ID", "")
        if not REQUEST_ID.fullmatch(request_id):
            # Random enough for an id. The system's random numbers would hand Python's lock to another thread.
            request_id = f"{random.getrandbits(128):032x}"
        outcome = ""
        request_id_of_thread.set(request_id)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal outcome
            outcome = status
            headers.append(("X-Request-ID", request_id))
            if self._draining.begun:
                headers.append(("Connection", "close"))
            return start_response(status, headers, exc_info)

        if path != METRICS_PATH:  # Else the scrape would always find itself.
            self._metrics.in_flight.add(start)
        try:
            if not path.isascii():
                # WSGI passes the path's bytes as Latin-1. Invalid UTF-8 would be taken for another thread's id.
                try:
                    path = path.encode("latin-1").decode()
                except UnicodeDecodeError:
                    return self._refuse(replies.error(400, "the path is not UTF-8"), environ, start, started)
            if method not in METHODS:
                message = "HTTP has no such method; the Allow header lists the allowed ones"
                refused = replies.error(405, message, headers=(("Allow", "GET, HEAD, OPTIONS, POST"),))
                return self._refuse(refused, environ, start, started)
            if answered := self._comments.fast_path(method, path, environ):
                reply, rule = answered
                self._metrics.observe(method, reply.code, rule, time.perf_counter() - started)
                return reply.send(start)
            response = self._app(environ, start)
            try:
                return [*response]
            finally:
                if close := getattr(response, "close", None):
                    close()
                _discard_body(environ)
        finally:
            request_id_of_thread.set("")
            self._metrics.in_flight.discard(start)
            if self._log_requests:
                seconds = time.perf_counter() - started
                line = request_line(method, path, outcome[:3], request_id, seconds)
                self.lines.add(line, last=self._draining.begun)

    def _refuse(
        self, reply: replies.Reply, environ: dict[str, Any], start: "StartResponse", started: float
    ) -> list[bytes]:
        """Answer a request that Flask does not see, counted as one without a route."""
        # Anybody can invent method names, and each would be a time series.
        method = environ["REQUEST_METHOD"] if environ["REQUEST_METHOD"] in METHODS else "OTHER"
        self._metrics.observe(method, reply.code, NO_ROUTE, time.perf_counter() - started)
        _discard_body(environ)
        return reply.send(start)


def _discard_body(environ: dict[str, Any]) -> None:
    """Read the rest of a refused body.

    A server that closes a connection with bytes still coming resets it, and the client, or the proxy between, may
    never see the reply. Beyond `DISCARDED` the reset is what the sender deserves.
    """
    if environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING"):
        left = DISCARDED
        while left > 0 and (data := environ["wsgi.input"].read(min(left, 65_536))):
            left -= len(data)
