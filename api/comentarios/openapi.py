"""The OpenAPI 3.1 description of the API, with the limits of the validation."""

from collections.abc import Sequence
from typing import Any

from .config import MAX_BODY_BYTES, Settings
from .validation import CURSOR, MAX_COMMENT, MAX_CONTENT_ID, MAX_EMAIL, MAX_LIMIT

NO_NUL = r"^[^\x00]*$"

ERRORS = {
    400: "The request is not valid; `errors` names each field at fault.",
    404: "No comment has this content_id.",
    413: f"The body is larger than {MAX_BODY_BYTES // 1024} KiB.",
    415: "The body is not application/json, or it has a Content-Encoding.",
    429: "Too many requests from one address; try again after `Retry-After` seconds.",
    503: "The database cannot be reached, or this replica is stopping; try again after `Retry-After` seconds.",
    507: "There is no room left to store comments.",
}
TEXT = {"type": "string"}


def document(version: str) -> dict[str, Any]:
    """The description of the API of this `version`."""
    built = {"status": "SUCCESS", "message": "alive", "version": "1.0.0", "commit": "0123abc"}
    alive = _json("Yes, with its version and commit.", _ref("Alive"), built)
    ready = _json("Yes.", _ref("Success"), {"status": "SUCCESS", "message": "ready"})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "comentarios",
            "version": version,
            "description": "Comments on anything that has an id. After the reply SUCCESS, a comment is on disk and "
            "survives a crash and a power cut.",
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "comments", "description": "Write and read comments."},
            {"name": "operations", "description": "For operators."},
        ],
        "paths": {
            "/api/comment/new": {"post": _new()},
            "/api/comment/list/{content_id}": {"get": _list()},
            "/healthz": {"get": _operation("alive", "operations", "Whether the process runs", alive, 429)},
            "/readyz": {"get": _operation("ready", "operations", "Whether it can write now", ready, 429, 503, 507)},
        },
        "components": {"schemas": _schemas()},
    }


def _new() -> dict[str, Any]:
    example = {"email": "alice@example.com", "comment": "first post!", "content_id": 1}
    stored = {"status": "SUCCESS", "message": "comment created and associated with content_id 1"}
    thread = {
        "operationId": "listComments",
        "parameters": {"content_id": "$request.body#/content_id"},
        "description": "The thread of the new comment.",
    }
    answer = {**_json("Stored.", _ref("Success"), stored), "links": {"thread": thread}}
    return {
        **_operation("newComment", "comments", "Create a comment", answer, 400, 413, 415, 429, 503, 507),
        "description": '`1` and `"1"` are the same content_id. Unknown and duplicate fields are refused.',
        "requestBody": {"required": True, **_content(_ref("NewComment"), example)},
    }


def _list() -> dict[str, Any]:
    answer = _json(
        "The comments; none when the page starts at the end of the thread.",
        {"type": "array", "items": _ref("Comment")},
        [{"email": "alice@example.com", "comment": "first post!"}],
    )
    headers = {
        "ETag": "Changes with the thread. An operator's change of any comment changes it, too.",
        "Link": 'The next page, as `<URL>; rel="next"`; missing on the last one.',
    }
    answer["headers"] = {name: {"description": text, "schema": TEXT} for name, text in headers.items()}
    parameters = [
        {
            **_parameter("path", "content_id", "Percent-encoded as URLs require; slashes need no encoding."),
            "required": True,
            "schema": {**TEXT, "minLength": 1, "maxLength": MAX_CONTENT_ID},
            "example": "1",
        },
        {
            **_parameter("query", "limit", f"Maximum number of comments on a page; the default is {MAX_LIMIT}."),
            "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
        },
        {**_parameter("query", "after", "A cursor from a `Link` header."), "schema": {**TEXT, "pattern": CURSOR}},
        _parameter("header", "If-None-Match", "The `ETag` of an earlier reply; 304 if it has not changed."),
    ]
    operation = _operation(
        "listComments", "comments", "List the comments on a content_id", answer, 400, 404, 429, 503, before=parameters
    )
    unchanged = "The list is the same as the one with the `ETag` in `If-None-Match`."
    operation["responses"]["304"] = {"description": unchanged}
    return {
        **operation,
        "description": f"Oldest first, at most {MAX_LIMIT} comments and {Settings.max_reply_bytes // 1024} KiB, or "
        "fewer with `limit`. For more, follow the `Link` header until there is none.",
    }


def _schemas() -> dict[str, Any]:
    text = {**TEXT, "minLength": 1, "pattern": NO_NUL}
    address = {**TEXT, "minLength": 3, "maxLength": MAX_EMAIL}
    content_id = {
        **text,
        "maxLength": MAX_CONTENT_ID,
        "description": "No `.` or `..` between slashes: clients remove them from URLs.",
        "not": {"pattern": r"(^|/)\.\.?(/|$)"},
    }
    new = {
        "email": {**address, "format": "email"},
        "comment": {**text, "maxLength": MAX_COMMENT},
        "content_id": {"oneOf": [content_id, {"type": "integer", "description": "at most 255 digits"}]},
    }
    success = {"status": {"const": "SUCCESS"}, "message": TEXT}
    errors = {"type": "array", "items": _object({"field": TEXT, "message": TEXT})}
    return {
        "NewComment": _object(new),
        # No format: checkers do not agree on which addresses are valid.
        "Comment": _object({"email": address, "comment": {**TEXT, "minLength": 1, "maxLength": MAX_COMMENT}}),
        "Success": _object(success),
        "Alive": _object({**success, "version": TEXT, "commit": TEXT}),
        "Error": _object({"status": {**TEXT, "pattern": "^[A-Z-]+$"}, "message": TEXT}, {"errors": errors}),
    }


def _object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "required": list(required),
        "additionalProperties": False,
        "properties": {**required, **(optional or {})},
    }


def _operation(
    name: str, tag: str, summary: str, answer: dict[str, Any], *errors: int, before: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """An operation that takes the parameters `before` and X-Request-ID."""
    known = "Comes back in the reply and stands in the log; made up when it is missing or not of this form."
    return {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "parameters": [*before, {**_parameter("header", "X-Request-ID", known), "example": "checkout-42"}],
        "responses": {"200": answer, **{str(code): _json(ERRORS[code], _ref("Error")) for code in errors}},
    }


def _parameter(where: str, name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": where, "description": description, "schema": TEXT}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: dict[str, Any], example: object) -> dict[str, Any]:
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"content": {"application/json": content}}


def _json(description: str, schema: dict[str, Any], example: object = None) -> dict[str, Any]:
    return {"description": description, **_content(schema, example)}
