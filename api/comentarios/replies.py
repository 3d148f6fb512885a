"""Replies as plain data, independent of Flask: used on both paths of a request."""

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, TypedDict

if TYPE_CHECKING:
    from wsgiref.types import StartResponse

STATUS = {
    400: "BAD-REQUEST",
    404: "NOT-FOUND",
    405: "METHOD-NOT-ALLOWED",
    413: "PAYLOAD-TOO-LARGE",
    415: "UNSUPPORTED-MEDIA-TYPE",
    500: "INTERNAL-ERROR",
    503: "UNAVAILABLE",
    507: "INSUFFICIENT-STORAGE",
}
STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}

JSON = "application/json"

Headers = tuple[tuple[str, str], ...]


class FieldError(TypedDict):
    """An error in one field."""

    field: str
    message: str


class Reply(NamedTuple):
    """An answer in JSON: HTTP status code, the whole body (none with 304), further headers."""

    code: int
    body: bytes
    headers: Headers = ()

    def send(self, start_response: "StartResponse") -> list[bytes]:
        """Answer a WSGI request. With a list, Granian frees the thread before the body is sent."""
        headers = [*self.headers]
        if self.code != HTTPStatus.NOT_MODIFIED:
            headers = [("Content-Type", JSON), ("Content-Length", str(len(self.body))), *self.headers]
        start_response(STATUS_LINES[self.code], headers)
        return [self.body]


def encode(payload: object) -> bytes:
    """`payload` as compact JSON, its keys in the order given."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def error(code: int, message: str, errors: list[FieldError] | None = None, headers: Headers = ()) -> Reply:
    """The documented error body: status, message and, for invalid fields, errors."""
    payload: dict[str, object] = {"status": STATUS[code], "message": message}
    if errors:
        payload["errors"] = errors
    return Reply(code, encode(payload), headers)
