"""Replies as plain data, before any framework: what both ways to answer a request share."""

import json
from collections.abc import Iterable
from http import HTTPStatus
from typing import NamedTuple

STATUS = {
    400: "BAD-REQUEST",
    404: "NOT-FOUND",
    405: "METHOD-NOT-ALLOWED",
    413: "PAYLOAD-TOO-LARGE",
    415: "UNSUPPORTED-MEDIA-TYPE",
    429: "TOO-MANY-REQUESTS",
    500: "INTERNAL-ERROR",
    503: "UNAVAILABLE",
    507: "INSUFFICIENT-STORAGE",
}
STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}

JSON = "application/json"


class Reply(NamedTuple):
    """An answer in JSON: HTTP status code, body, further headers.

    The body is bytes, or an iterable of bytes for one that is sent while it is made.
    """

    code: int
    body: bytes | Iterable[bytes]
    headers: tuple[tuple[str, str], ...] = ()

    def send(self, start_response) -> Iterable[bytes]:
        """Answer a WSGI request."""
        headers = [("Content-Type", JSON), *self.headers]
        body = self.body
        if type(body) is bytes:
            headers.append(("Content-Length", str(len(body))))
            body = (body,)
        start_response(STATUS_LINES[self.code], headers)
        return body


def encode(payload: object) -> bytes:
    """`payload` as compact JSON, its keys in the order given."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def error(code: int, message: str, errors: list[dict] | None = None, headers: tuple = ()) -> Reply:
    """The documented error body: status, message and, where fields are to blame, errors."""
    payload: dict = {"status": STATUS.get(code, "ERROR"), "message": message}
    if errors:
        payload["errors"] = errors
    return Reply(code, encode(payload), headers)
