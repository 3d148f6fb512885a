"""What a request may hold."""

import base64
import json
import re
from typing import Annotated, Any

import email_validator
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from .errors import ApiError

MAX_CONTENT_ID = 255
MAX_EMAIL = 254
MAX_COMMENT = 10_000
MAX_LIMIT = 1_000
# PostgreSQL cannot store it and C strings end at it.
NO_NUL = r"^[^\x00]*$"

# An address under .test or .local is an address; whether mail arrives there is not looked at for any other either.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

# Eight bytes in base64: a first letter that leaves the sign bit clear, a last one without stray bits.
CURSOR = "^[A-Za-f][A-Za-z0-9_-]{9}[AEIMQUYcgkosw048]$"
_CURSOR = re.compile(CURSOR)


# The common form of an address: the library, which takes 30 µs, says yes to all that this lets through (the tests
# hold it to that) and is asked about everything else.
_PLAIN_EMAIL = re.compile(
    r"[a-z0-9_+-]{1,20}(?:\.[a-z0-9_+-]{1,20}){0,2}@(?:[a-z0-9]{1,30}\.){1,3}[a-z]{2,20}", re.ASCII | re.IGNORECASE
)


def _checked_email(text: str) -> str:
    if not _PLAIN_EMAIL.fullmatch(text):
        try:
            validate_email(text, check_deliverability=False)
        except EmailNotValidError as error:
            raise PydanticCustomError("email", "not an email address: {reason}", {"reason": str(error)}) from None
    return text


def _content_id_text(value: Any) -> Any:
    if type(value) is int:
        if not -(10**MAX_CONTENT_ID) < value < 10**MAX_CONTENT_ID:
            raise PydanticCustomError("too_long", "should have at most 255 characters")
        return str(value)
    if type(value) is str:
        return value
    raise PydanticCustomError("content_id", "should be a string or an integer")


class CommentBody(BaseModel):
    """The body of POST /api/comment/new; any other field is refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    email: Annotated[str, Field(min_length=3, max_length=MAX_EMAIL, pattern=NO_NUL), AfterValidator(_checked_email)]
    comment: Annotated[str, Field(min_length=1, max_length=MAX_COMMENT, pattern=NO_NUL)]
    content_id: Annotated[
        str,
        BeforeValidator(_content_id_text),
        Field(min_length=1, max_length=MAX_CONTENT_ID, pattern=NO_NUL),
    ]


def parse_comment(body: bytes) -> CommentBody:
    """Read one comment. Raises `ApiError` 400 that lists each field at fault."""
    try:
        document = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ApiError(400, "the body is nested too deeply") from None
    except UnicodeDecodeError:
        raise ApiError(400, "the body is not UTF-8") from None
    except ValueError as error:
        raise ApiError(400, f"the body is not valid JSON: {error}") from None
    if type(document) is not dict:
        raise ApiError(400, "the body should be a JSON object with email, comment and content_id")
    try:
        return CommentBody.model_validate(document)
    except ValidationError as error:
        raise ApiError(400, "the comment is not valid", _field_errors(error)) from None


def _field_errors(error: ValidationError) -> list[dict]:
    # A name is whatever the sender made up: cut short. None stands for a name that is not even text.
    return [
        {"field": ".".join(map(str, item["loc"]))[:100] or "body", "message": item["msg"]}
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _unique(pairs: list[tuple[str, Any]]) -> dict:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a field is given twice")
    return document


def _no_constant(name: str):
    raise ValueError(f"{name} is not a JSON value")


def parse_limit(text: str | None) -> int | None:
    """`?limit=`: 1 to 1,000, None when it is not given."""
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    message = f"should be a whole number from 1 to {MAX_LIMIT}"
    raise ApiError(400, "the query is not valid", [{"field": "limit", "message": message}])


def parse_cursor(text: str | None) -> int:
    """`?after=`: the id of the last comment seen, 0 when it is not given."""
    if text is None:
        return 0
    if _CURSOR.fullmatch(text):
        return int.from_bytes(base64.urlsafe_b64decode(text + "="))
    message = "should be a cursor from a Link header"
    raise ApiError(400, "the query is not valid", [{"field": "after", "message": message}])


def make_cursor(comment_id: int) -> str:
    """What `parse_cursor` reads."""
    return base64.urlsafe_b64encode(comment_id.to_bytes(8)).decode().rstrip("=")
