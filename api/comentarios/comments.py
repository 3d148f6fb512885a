"""The two routes of the contract."""

import re
import time
from typing import Any
from urllib.parse import quote
from zlib import crc32

from flask import Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.routing import BaseConverter

from . import replies
from .config import MAX_BODY_BYTES, Settings
from .errors import ApiError, reply_to, to_flask
from .metrics import Metrics
from .replies import Headers, Reply
from .storage import NewComment, Storage, Stored
from .validation import MAX_CONTENT_ID, MAX_LIMIT, make_cursor, parse_comment, parse_cursor, parse_limit

NEW_PATH = "/api/comment/new"
LIST_PATH = "/api/comment/list/"
LIST_RULE = LIST_PATH + "<path:content_id>"
# A page's query as the links to next pages have it. Any other form goes through Flask.
QUERY = re.compile(r"(?:limit=(?P<limit>[0-9]+)(?:&|$))?(?:after=(?P<after>[A-Za-z0-9_-]+))?")
# Replies that are frequent, and replies that must be counted even if they happen once.
REPLIES = {("POST", NEW_PATH): (200, 400, 500, 503, 507), ("GET", LIST_RULE): (200, 304, 404, 500, 503)}


class ContentIdConverter(BaseConverter):
    """Any text, including leading and repeated slashes (Flask's `path` refuses a leading one)."""

    regex = r"[\s\S]+"
    part_isolating = False


class Comments:
    """POST /api/comment/new and GET /api/comment/list/<content_id>."""

    def __init__(self, storage: Storage, metrics: Metrics, settings: Settings):
        self._storage = storage
        self._metrics = metrics
        self._max_reply_bytes = settings.max_reply_bytes
        self._build = f"{crc32(f'{settings.version} {settings.commit}'.encode()):08x}"

    def init_app(self, app: Flask) -> None:
        # One more: Flask truncates a chunked body silently at the limit; the extra byte reveals it.
        app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
        app.url_map.converters["path"] = ContentIdConverter
        app.add_url_rule(NEW_PATH, view_func=self.view_new, methods=["POST"], provide_automatic_options=False)
        app.add_url_rule(LIST_RULE, view_func=self.view_list, provide_automatic_options=False)
        for (method, rule), codes in REPLIES.items():
            for code in codes:
                self._metrics.expect(method, code, rule)

    def fast_path(self, method: str, path: str, environ: dict[str, Any]) -> tuple[Reply, str] | None:
        """The reply to an ordinary request, and the rule that it is counted under; None if Flask should answer.

        Flask routes, parses and dispatches in about 60 µs, which an ordinary POST or GET does not need. Everything else
        (other queries, HEAD, chunked bodies, other content types, wrong paths) goes through Flask and the views below.
        """
        try:
            if method == "GET" and path.startswith(LIST_PATH):
                content_id, query = path[len(LIST_PATH) :], QUERY.fullmatch(environ.get("QUERY_STRING", ""))
                if content_id and query:
                    limit, after = parse_limit(query["limit"]), parse_cursor(query["after"])
                    return self.page(content_id, after, limit, environ.get("HTTP_IF_NONE_MATCH", "")), LIST_RULE
            elif (
                method == "POST"
                and path == NEW_PATH
                and environ.get("CONTENT_TYPE") == replies.JSON
                and "HTTP_CONTENT_ENCODING" not in environ
            ):
                digits = environ.get("CONTENT_LENGTH") or ""
                if digits.isdecimal() and (length := int(digits)) <= MAX_BODY_BYTES:
                    return self.new(environ["wsgi.input"].read(length), length), NEW_PATH
        except Exception as error:
            return reply_to(error), LIST_RULE if method == "GET" else NEW_PATH
        return None

    def view_new(self) -> Response:
        if request.mimetype != replies.JSON:
            raise ApiError(415, "send the comment as application/json")
        if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise ApiError(415, "send the comment without a Content-Encoding")
        body = request.get_data(cache=False)
        if len(body) > MAX_BODY_BYTES:
            raise RequestEntityTooLarge
        return to_flask(self.new(body, request.content_length))

    def view_list(self, content_id: str) -> Response:
        limit, after = parse_limit(request.args.get("limit")), parse_cursor(request.args.get("after"))
        return to_flask(self.page(content_id, after, limit, request.headers.get("If-None-Match", "")))

    def new(self, body: bytes, length: int | None) -> Reply:
        """Store the comment in `body` durably, then confirm it. `length`: the Content-Length, if given."""
        if length not in (None, len(body)):
            raise ApiError(400, "the body is shorter than its Content-Length")
        comment = NewComment(**parse_comment(body), created_ms=time.time_ns() // 1_000_000)
        started = time.perf_counter()
        try:
            self._storage.add(comment)
        finally:
            self._metrics.insert_seconds.observe(time.perf_counter() - started)
        self._metrics.created.inc()
        message = f"comment created and associated with content_id {comment.content_id}"
        return Reply(200, replies.encode({"status": "SUCCESS", "message": message}))

    def page(self, content_id: str, after: int, limit: int | None, known: str) -> Reply:
        """The comments after the one with the id `after`, as many as fit into a reply, and a link to the next page.

        known: the request's If-None-Match; 304 when the thread has not changed.
        """
        # No comment has such a content_id, and PostgreSQL refuses to search for a NUL.
        if len(content_id) > MAX_CONTENT_ID or "\0" in content_id:
            raise ApiError(404, f"content_id {content_id} not found")
        if known and (newest := self._storage.newest(content_id)) and _matches(known, tag := self._tag(newest)):
            return Reply(304, b"", _cache_headers(tag))
        # Of lists that are made: 304s, of one row, would hide how long these take.
        started = time.perf_counter()
        try:
            page = self._storage.page(content_id, after, limit or MAX_LIMIT, self._max_reply_bytes)
        finally:
            self._metrics.list_seconds.observe(time.perf_counter() - started)
        if page.newest is None or (page.length == 0 and after == 0):
            raise ApiError(404, f"content_id {content_id} not found")
        headers = _cache_headers(self._tag(page.newest))
        if page.next_after is not None:
            query = f"limit={limit}&" if limit else ""
            link = f"{LIST_PATH}{quote(content_id, safe='')}?{query}after={make_cursor(page.next_after)}"
            headers += (("Link", f'<{link}>; rel="next"'),)
        return Reply(200, page.array, headers)

    def _tag(self, newest: Stored) -> str:
        """The newest comment identifies the thread's content, together with the last time that an operator changed any.

        Another build of the API may write the same comments in another way.
        """
        return f'"{newest.id:x}-{newest.created_ms:x}-{newest.revision:x}-{self._build}"'


def _cache_headers(tag: str) -> Headers:
    """Headers of a page that clients may cache but must revalidate."""
    return ("ETag", tag), ("Cache-Control", "no-cache")


def _matches(known: str, tag: str) -> bool:
    """Whether an If-None-Match names the tag, as nearly all do whose thread has not changed, or every tag."""
    return known in (tag, "*") or tag in [one.strip().removeprefix("W/") for one in known.split(",")]
