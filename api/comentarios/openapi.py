"""The OpenAPI 3.1 description of the API, with the limits of the validation."""

from typing import Any

from .config import Settings
from .validation import CURSOR, MAX_COMMENT, MAX_CONTENT_ID, MAX_EMAIL, MAX_LIMIT

NO_NUL = r"^[^\x00]*$"

ERRORS = {
    400: "The request is not valid; `errors` names each field at fault.",
    404: "No comment has this content_id.",
    413: f"The body is larger than {Settings.max_body_bytes // 1024} KiB.",
    415: "The body is not application/json, or it has a Content-Encoding.",
    429: "Too many requests from one address; try again after `Retry-After` seconds.",
    503: "The database cannot be reached, or this replica is stopping; try again after `Retry-After` seconds.",
    507: "There is no room left to store comments.",
}
REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Comes back in the reply and stands in the log; made up when it is missing or not of this form.",
    "schema": {"type": "string"},
    "example": "checkout-42",
}


def document(version: str) -> dict[str, Any]:
    """The description of the API of this `version`."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "comentarios",
            "version": version,
            "description": "Comments on anything that has an id. A comment that was acknowledged with SUCCESS is "
            "on disk: it survives a crash and a power cut.",
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "comments", "description": "Write and read comments."},
            {"name": "operations", "description": "For those who run it."},
        ],
        "paths": {
            "/api/comment/new": {"post": _new()},
            "/api/comment/list/{content_id}": {"get": _list()},
            "/healthz": {"get": _healthz()},
            "/readyz": {"get": _readyz()},
        },
        "components": {"schemas": _schemas()},
    }


def _new() -> dict[str, Any]:
    return {
        "operationId": "newComment",
        "tags": ["comments"],
        "summary": "Create a comment",
        "description": '`1` and `"1"` are the same content_id. A field that is not listed is refused, so is one '
        "that is given twice.",
        "parameters": [REQUEST_ID],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _ref("NewComment"),
                    "example": {"email": "alice@example.com", "comment": "first post!", "content_id": 1},
                }
            },
        },
        "responses": {
            "200": {
                **_json(
                    "Stored.",
                    _ref("Success"),
                    {"status": "SUCCESS", "message": "comment created and associated with content_id 1"},
                ),
                "links": {
                    "thread": {
                        "operationId": "listComments",
                        "parameters": {"content_id": "$request.body#/content_id"},
                        "description": "The thread that it now stands in.",
                    }
                },
            },
            **_errors(400, 413, 415, 429, 503, 507),
        },
    }


def _list() -> dict[str, Any]:
    return {
        "operationId": "listComments",
        "tags": ["comments"],
        "summary": "List the comments on a content_id",
        "description": f"Oldest first, at most {MAX_LIMIT} comments and {Settings.max_reply_bytes // 1024} KiB, with "
        "`limit` fewer. What does not fit is on further pages: follow the `Link` header until there is none.",
        "parameters": [
            {
                "name": "content_id",
                "in": "path",
                "required": True,
                "description": "Percent-encoded where a URL needs it; slashes may stand as they are.",
                "schema": {"type": "string", "minLength": 1, "maxLength": MAX_CONTENT_ID},
                "example": "1",
            },
            {
                "name": "limit",
                "in": "query",
                "description": f"Comments on a page at most; {MAX_LIMIT} when it is not given.",
                "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
            },
            {
                "name": "after",
                "in": "query",
                "description": "A cursor, out of a `Link` header.",
                "schema": {"type": "string", "pattern": CURSOR},
            },
            {
                "name": "If-None-Match",
                "in": "header",
                "description": "The `ETag` of an earlier reply; 304 when nothing has come on top of it.",
                "schema": {"type": "string"},
            },
            REQUEST_ID,
        ],
        "responses": {
            "200": {
                **_json(
                    "The comments; none when the page starts at the end of the thread.",
                    {"type": "array", "items": _ref("Comment")},
                    [{"email": "alice@example.com", "comment": "first post!"}],
                ),
                "headers": {
                    "ETag": {
                        "description": "Stays the same while no comment comes on top of the thread.",
                        "schema": {"type": "string"},
                    },
                    "Link": {
                        "description": 'The next page, as `<URL>; rel="next"`; not there on the last one.',
                        "schema": {"type": "string"},
                    },
                },
            },
            "304": {"description": "The reply is still the one with the `ETag` that `If-None-Match` names."},
            **_errors(400, 404, 429, 503),
        },
    }


def _healthz() -> dict[str, Any]:
    return {
        "operationId": "alive",
        "tags": ["operations"],
        "summary": "Is the process alive",
        "parameters": [REQUEST_ID],
        "responses": {
            "200": _json(
                "Yes; and what it was built from.",
                _ref("Alive"),
                {"status": "SUCCESS", "message": "alive", "version": "1.0.0", "commit": "0123abc"},
            ),
            **_errors(429),
        },
    }


def _readyz() -> dict[str, Any]:
    return {
        "operationId": "ready",
        "tags": ["operations"],
        "summary": "Can it write and read now",
        "parameters": [REQUEST_ID],
        "responses": {
            "200": _json("Yes.", _ref("Success"), {"status": "SUCCESS", "message": "ready"}),
            **_errors(429, 503, 507),
        },
    }


def _schemas() -> dict[str, Any]:
    text = {"type": "string", "minLength": 1, "pattern": NO_NUL}
    email = {"type": "string", "format": "email", "minLength": 3, "maxLength": MAX_EMAIL}
    return {
        "NewComment": {
            "type": "object",
            "required": ["email", "comment", "content_id"],
            "additionalProperties": False,
            "properties": {
                "email": email,
                "comment": {**text, "maxLength": MAX_COMMENT},
                "content_id": {
                    "oneOf": [
                        {
                            **text,
                            "maxLength": MAX_CONTENT_ID,
                            "description": "No `.` or `..` between slashes: clients take them out of a URL.",
                            "not": {"pattern": r"(^|/)\.\.?(/|$)"},
                        },
                        {"type": "integer", "description": "at most 255 digits"},
                    ]
                },
            },
        },
        "Comment": {
            "type": "object",
            "required": ["email", "comment"],
            "additionalProperties": False,
            # No format: checkers do not agree on which addresses are valid.
            "properties": {
                "email": {"type": "string", "minLength": 3, "maxLength": MAX_EMAIL},
                "comment": {"type": "string", "minLength": 1, "maxLength": MAX_COMMENT},
            },
        },
        "Success": _answer({"const": "SUCCESS"}),
        "Alive": _answer({"const": "SUCCESS"}, {"version": {"type": "string"}, "commit": {"type": "string"}}),
        "Error": {
            "type": "object",
            "required": ["status", "message"],
            "additionalProperties": False,
            "properties": {
                "status": {"type": "string", "pattern": "^[A-Z-]+$"},
                "message": {"type": "string"},
                "errors": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["field", "message"],
                        "additionalProperties": False,
                        "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
                    },
                },
            },
        },
    }


def _answer(status: dict[str, Any], more: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {"status": status, "message": {"type": "string"}, **(more or {})}
    return {
        "type": "object",
        "required": list(properties),
        "additionalProperties": False,
        "properties": properties,
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(description: str, schema: dict[str, Any], example: object = None) -> dict[str, Any]:
    content = {"schema": schema} if example is None else {"schema": schema, "example": example}
    return {"description": description, "content": {"application/json": content}}


def _errors(*codes: int) -> dict[str, Any]:
    return {str(code): _json(ERRORS[code], _ref("Error")) for code in codes}
