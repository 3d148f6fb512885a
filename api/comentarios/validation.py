"""Validation of requests."""

import base64
import codecs
import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

import email_validator
from email_validator import EmailNotValidError, validate_email

from .errors import ApiError
from .replies import FieldError

MAX_CONTENT_ID = 255
MAX_EMAIL = 254
MAX_COMMENT = 10_000
MAX_LIMIT = 1_000

# Addresses under .test or .local are valid; we do not check whether mail arrives.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_TOO_LONG = 10**MAX_CONTENT_ID

# Eight bytes in base64: the first letter keeps the sign bit clear, the last one has no unused bits.
CURSOR = "^[A-Za-f][A-Za-z0-9_-]{9}[AEIMQUYcgkosw048]$"
_CURSOR = re.compile(CURSOR)

# The common form of an address. The library, which takes 30 µs, accepts everything that this matches (the tests check
# that) and decides about all other addresses.
_PLAIN_EMAIL = re.compile(
    r"[a-z0-9_+-]{1,20}(?:\.[a-z0-9_+-]{1,20}){0,2}@(?:[a-z0-9]{1,30}\.){1,3}[a-z]{2,20}", re.ASCII | re.IGNORECASE
)


def parse_comment(body: bytes) -> dict[str, str]:
    """Return email, comment and content_id of one comment. Raises `ApiError` 400 with the error of each field."""
    document = _parse_object(body)
    content_id = document.get("content_id")
    if type(content_id) is int:
        document["content_id"] = str(content_id)
    errors: list[FieldError] = []
    for name, fault_of in _FAULTS.items():
        message = fault_of(document[name]) if name in document else "is missing"
        if message:
            errors.append({"field": name, "message": message})
    for name in document:
        if name not in _FAULTS:
            # The sender's text: shortened, with invalid characters replaced.
            shown = name[:100].encode(errors="replace").decode()
            errors.append({"field": shown, "message": "is not a field of a comment"})
    if errors:
        raise ApiError(400, "the comment is not valid", errors)
    return document


def _parse_object(body: bytes) -> dict[str, Any]:
    if body.startswith(codecs.BOM_UTF8):
        raise ApiError(400, "the body starts with a byte order mark; send the JSON without one")
    try:
        document = _DECODER.decode(body.decode())
    except UnicodeDecodeError:
        raise ApiError(400, "the body is not UTF-8") from None
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ApiError(400, f"the body is not valid JSON: see {where}" if body else "the body is empty") from None
    if type(document) is not dict:
        raise ApiError(400, "the body should be a JSON object with email, comment and content_id")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ApiError(400, "the body gives a field twice")
    return document


def _integer(digits: str) -> int:
    """Parse an integer. Python converts at most 4,300 digits; longer numbers are too long for a content_id anyway."""
    return int(digits) if len(digits) <= MAX_CONTENT_ID else _TOO_LONG


def _no_constant(name: str) -> NoReturn:
    raise ApiError(400, f"the body is not valid JSON: there is no {name}")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer, parse_constant=_no_constant)


def _email_fault(value: object) -> str | None:
    if (fault := _text_fault(value, MAX_EMAIL)) or type(value) is not str:
        return fault
    if not _PLAIN_EMAIL.fullmatch(value):
        try:
            validate_email(value, check_deliverability=False)
        except EmailNotValidError as error:
            return f"is not an email address: {error}"
    return None


def _content_id_fault(value: object) -> str | None:
    if type(value) is not str:
        return "should be a string or an integer"
    if fault := _text_fault(value, MAX_CONTENT_ID):
        return fault
    if "." in value and not {".", ".."}.isdisjoint(value.split("/")):
        # Such a thread could not be read: clients remove these segments from URLs, percent-encoded or not.
        return "should not have . or .. as a part between slashes"
    return None


_FAULTS: dict[str, Callable[[object], str | None]] = {
    "email": _email_fault,
    "comment": lambda value: _text_fault(value, MAX_COMMENT),
    "content_id": _content_id_fault,
}


def _text_fault(value: object, most: int) -> str | None:
    if type(value) is not str:
        return "should be a string"
    if not value:
        return "should not be empty"
    if len(value) > most:
        return f"should have at most {most} characters"
    if "\0" in value:
        # PostgreSQL cannot store NUL, and C strings end at it.
        return "should not contain the character NUL"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "should not contain half of a surrogate pair"
    return None


def parse_limit(text: str | None) -> int | None:
    """`?limit=`: 1 to 1,000; None if not given."""
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    message = f"should be a whole number from 1 to {MAX_LIMIT}"
    raise ApiError(400, "the query is not valid", [{"field": "limit", "message": message}])


def parse_cursor(text: str | None) -> int:
    """`?after=`: the id of the last comment seen; 0 if not given."""
    if text is None:
        return 0
    if _CURSOR.fullmatch(text):
        return int.from_bytes(base64.urlsafe_b64decode(text + "="))
    message = "should be a cursor from a Link header"
    raise ApiError(400, "the query is not valid", [{"field": "after", "message": message}])


def make_cursor(comment_id: int) -> str:
    """The cursor for `parse_cursor`."""
    return base64.urlsafe_b64encode(comment_id.to_bytes(8)).decode().rstrip("=")
