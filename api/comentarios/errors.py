"""All error replies, in one JSON format."""

import logging

from flask import Flask, Response
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from . import replies
from .config import MAX_BODY_BYTES
from .replies import FieldError, Reply
from .storage import StorageError

log = logging.getLogger("comentarios.errors")


class ApiError(Exception):
    """An error with its reply: HTTP `code`, `message` and, for a body, `errors` by field."""

    def __init__(self, code: int, message: str, errors: list[FieldError] | None = None):
        super().__init__(message)
        self.code, self.message, self.errors = code, message, errors


def reply_to(error: Exception) -> Reply:
    """The reply for an exception; logs it if it is our own fault."""
    if isinstance(error, ApiError):
        return replies.error(error.code, error.message, error.errors)
    if isinstance(error, StorageError):
        log.error("storage: %s", error)
        return replies.error(error.code, error.public, headers=(("Retry-After", str(error.retry_after)),))
    if isinstance(error, RequestEntityTooLarge):
        return replies.error(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    if isinstance(error, HTTPException) and error.code in (400, 404, 405):
        headers = tuple((name, value) for name, value in error.get_headers() if name == "Allow")
        own = {
            404: "there is no such page; /docs lists all",
            405: "this method is not allowed here; the Allow header lists those that are",
        }
        message = own.get(error.code) or (error.description or error.name).splitlines()[0]
        return replies.error(error.code, message, headers=headers)
    log.error("unexpected %s", type(error).__name__, exc_info=error)
    return replies.error(500, "something went wrong on our side; the log has the details")


def init_app(app: Flask) -> None:
    """Handle exceptions of views and refusals of Flask itself."""

    @app.errorhandler(Exception)
    def raised(error: Exception) -> Response:
        return to_flask(reply_to(error))


def to_flask(reply: Reply) -> Response:
    """The reply as a Flask response."""
    return Response(reply.body, reply.code, list(reply.headers), mimetype=replies.JSON)
