"""What surrounds every request, and the short way for the two that matter.

Flask routes, parses and dispatches in about 60 µs; the ordinary POST and GET of the contract need none of that.
They are answered here, by the functions that Flask's views call too. Whatever is out of the ordinary (a query that is
no page's, a HEAD, a chunked body, another content type, a wrong path) goes through Flask.
"""

import random
import re
import time
from http import HTTPMethod
from typing import TYPE_CHECKING, Any

from . import replies
from .comments import LIST_PATH, LIST_RULE, NEW_PATH, NEW_RULE, Comments
from .config import Settings
from .draining import Draining
from .errors import reply_to
from .logs import Lines, answering, request_line
from .metrics import NO_ROUTE, Metrics
from .metrics import PATH as METRICS_PATH
from .replies import Reply
from .validation import parse_cursor, parse_limit

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
METHODS = frozenset(HTTPMethod)
# A page's query as the links to next pages have it. Any other form goes through Flask.
QUERY = re.compile(r"(?:limit=(?P<limit>[0-9]+)(?:&|$))?(?:after=(?P<after>[A-Za-z0-9_-]+))?")
# Bytes of a refused body that are read and discarded.
DISCARDED = 1024 * 1024


class Gateway:
    """WSGI middleware: request id, short way, log line, requests in flight, `Connection: close` when stopping."""

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
        self._max_body_bytes = settings.max_body_bytes
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
        answering.set(request_id)

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
                    return replies.error(400, "the path is not UTF-8").send(start)
            if method not in METHODS:
                # Anybody can invent method names, and each would be a time series.
                message = "HTTP has no such method; the Allow header lists those that are here"
                self._metrics.observe("OTHER", 405, NO_ROUTE, time.perf_counter() - started)
                _discard_body(environ)
                return replies.error(405, message, headers=(("Allow", "GET, HEAD, OPTIONS, POST"),)).send(start)
            if answered := self._short_way(method, path, environ):
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
            answering.set("")
            self._metrics.in_flight.discard(start)
            if self._log_requests:
                seconds = time.perf_counter() - started
                line = request_line(method, path, outcome[:3], request_id, seconds)
                self.lines.add(line, last=self._draining.begun)

    def _short_way(self, method: str, path: str, environ: dict[str, Any]) -> tuple[Reply, str] | None:
        """The reply and the rule that it is counted under; None if Flask should answer."""
        try:
            if method == "GET" and path.startswith(LIST_PATH):
                content_id, query = path[len(LIST_PATH) :], QUERY.fullmatch(environ.get("QUERY_STRING", ""))
                if content_id and query:
                    limit, after = parse_limit(query["limit"]), parse_cursor(query["after"])
                    known = environ.get("HTTP_IF_NONE_MATCH", "")
                    return self._comments.page(content_id, after, limit, known), LIST_RULE
            elif (
                method == "POST"
                and path == NEW_PATH
                and environ.get("CONTENT_TYPE") == replies.JSON
                and "HTTP_CONTENT_ENCODING" not in environ
            ):
                digits = environ.get("CONTENT_LENGTH") or ""
                if digits.isdecimal() and (length := int(digits)) <= self._max_body_bytes:
                    return self._comments.new(environ["wsgi.input"].read(length), length), NEW_RULE
        except Exception as error:
            rule = LIST_RULE if method == "GET" else NEW_RULE
            return reply_to(error, self._max_body_bytes), rule
        return None


def _discard_body(environ: dict[str, Any]) -> None:
    """Read the rest of a refused body.

    A server that closes a connection with bytes still coming resets it, and the client, or the proxy between, may
    never see the reply. Beyond `DISCARDED` the reset is what the sender deserves.
    """
    if environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING"):
        left = DISCARDED
        while left > 0 and (data := environ["wsgi.input"].read(min(left, 65_536))):
            left -= len(data)
