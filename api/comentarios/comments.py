"""The two routes of the contract."""

import logging
import time
from collections.abc import Iterator
from urllib.parse import quote

from flask import Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.routing import BaseConverter

from . import replies
from .errors import ApiError, to_flask
from .metrics import Metrics
from .replies import Reply
from .storage import NewComment, Page, Storage, StorageError
from .validation import MAX_CONTENT_ID, MAX_LIMIT, make_cursor, parse_comment, parse_cursor, parse_limit

log = logging.getLogger("comentarios.comments")

NEW_PATH = "/api/comment/new"
LIST_PATH = "/api/comment/list/"
NEW_RULE = NEW_PATH
LIST_RULE = LIST_PATH + "<path:content_id>"

# Comments read and sent at a time: a thread of any length is listed in little memory.
CHUNK = 100


class ContentIdConverter(BaseConverter):
    """Any text, slashes included, at the start and in a row too (Flask's `path` refuses a leading one)."""

    regex = r"[\s\S]+"
    part_isolating = False


class Comments:
    """POST /api/comment/new and GET /api/comment/list/<content_id>."""

    def __init__(self, storage: Storage, metrics: Metrics, max_body_bytes: int):
        self._storage = storage
        self._metrics = metrics
        self._max_body_bytes = max_body_bytes

    def init_app(self, app: Flask) -> None:
        # One more, because Flask cuts a chunked body there without a word: the byte too many tells.
        app.config["MAX_CONTENT_LENGTH"] = self._max_body_bytes + 1
        app.url_map.converters["path"] = ContentIdConverter
        app.add_url_rule(NEW_RULE, view_func=self.view_new, methods=["POST"], provide_automatic_options=False)
        app.add_url_rule(LIST_RULE, view_func=self.view_list, provide_automatic_options=False)

    def view_new(self) -> Response:
        if request.mimetype != replies.JSON:
            raise ApiError(415, "send the comment as application/json")
        body = request.get_data(cache=False)
        if len(body) > self._max_body_bytes:
            raise RequestEntityTooLarge
        return to_flask(self.new(body, request.content_length))

    def view_list(self, content_id: str) -> Response:
        limit = parse_limit(request.args.get("limit"))
        after = parse_cursor(request.args.get("after"))
        if limit is None and "after" not in request.args:
            return to_flask(self.whole(content_id))
        return to_flask(self.page(content_id, after, limit or MAX_LIMIT))

    def new(self, body: bytes, length: int | None) -> Reply:
        """Store the comment that `body` describes, durably, then say so. `length`: the Content-Length, if given."""
        if length not in (None, len(body)):
            raise ApiError(400, "the body is shorter than its Content-Length")
        comment = parse_comment(body)
        started = time.perf_counter()
        try:
            created_ms = time.time_ns() // 1_000_000
            self._storage.add(NewComment(comment.content_id, comment.email, comment.comment, created_ms))
        finally:
            self._metrics.insert_seconds.observe(time.perf_counter() - started)
        self._metrics.created.inc()
        message = f"comment created and associated with content_id {comment.content_id}"
        return Reply(200, replies.encode({"status": "SUCCESS", "message": message}))

    def whole(self, content_id: str) -> Reply:
        """The thread, whatever its length."""
        first = self._read(content_id, 0, CHUNK)
        if first.count == 0:
            raise _not_found(content_id)
        if first.count < CHUNK:
            return _array(first)
        # Up to the newest of now: the reply ends even when comments come in faster than it is read.
        return Reply(200, self._stream(content_id, first, self._storage.last_id(content_id)))

    def page(self, content_id: str, after: int, limit: int) -> Reply:
        """`limit` comments after the one whose id is `after`, with a link to the next ones if there are any."""
        first = self._read(content_id, after, min(limit, CHUNK))
        if first.count == 0 and (not _possible(content_id) or self._storage.last_id(content_id) is None):
            raise _not_found(content_id)
        if first.count < min(limit, CHUNK):
            return _array(first)
        newest = self._storage.last_id(content_id)
        last = first.last_id if limit <= CHUNK else self._storage.nth_id(content_id, after, limit)
        headers = ()
        if last is not None and newest > last:
            link = f"{LIST_PATH}{quote(content_id, safe='')}?limit={limit}&after={make_cursor(last)}"
            headers = (("Link", f'<{link}>; rel="next"'),)
        if limit <= CHUNK:
            return _array(first, headers)
        return Reply(200, self._stream(content_id, first, last or newest), headers)

    def _read(self, content_id: str, after: int, limit: int) -> Page:
        if not _possible(content_id):
            return Page("", 0, None)
        started = time.perf_counter()
        try:
            return self._storage.page(content_id, after, None, limit)
        finally:
            self._metrics.list_seconds.observe(time.perf_counter() - started)

    def _stream(self, content_id: str, page: Page, upto: int) -> Iterator[bytes]:
        yield f"[{page.items}".encode()
        try:
            while page.count == CHUNK:
                page = self._storage.page(content_id, page.last_id, upto, CHUNK)
                if page.count:
                    yield f",{page.items}".encode()
        except StorageError as error:
            # Too late for another status: the reply ends without its end, which every client takes for broken.
            log.error("storage, in the middle of a list: %s", error)
            raise
        yield b"]"


def _possible(content_id: str) -> bool:
    """Whether a comment can have it at all; PostgreSQL would refuse to look for a NUL."""
    return len(content_id) <= MAX_CONTENT_ID and "\0" not in content_id


def _array(page: Page, headers: tuple = ()) -> Reply:
    return Reply(200, f"[{page.items}]".encode(), headers)


def _not_found(content_id: str) -> ApiError:
    return ApiError(404, f"content_id {content_id} not found")
