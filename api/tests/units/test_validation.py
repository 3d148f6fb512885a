"""Every input gets JSON of the documented form, and never a 5xx."""

import gzip
import json
import struct
from typing import Any

import pytest
from comentarios.config import MAX_BODY_BYTES
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

GOOD = {"email": "alice@example.com", "comment": "first post!", "content_id": 1}


def refused(reply: TestResponse, code: int = 400, status: str = "BAD-REQUEST") -> Any:
    assert reply.status_code == code, reply.text
    assert reply.mimetype == "application/json"
    assert reply.get_json()["status"] == status
    assert isinstance(reply.get_json()["message"], str) and reply.get_json()["message"]
    assert set(reply.get_json()) <= {"status", "message", "errors"}
    return reply.get_json()


def send(client: FlaskClient, body: str | bytes, content_type: str = "application/json") -> TestResponse:
    return client.post("/api/comment/new", data=body, content_type=content_type)


@pytest.mark.parametrize("field", list(GOOD))
def test_missing_field(client: FlaskClient, field: str) -> None:
    body = {name: value for name, value in GOOD.items() if name != field}
    errors = refused(client.post("/api/comment/new", json=body))["errors"]
    assert [one["field"] for one in errors] == [field]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("email", value) for value in ["", "alice", "a@", "@b.com", "a@b", "a b@example.com", 1, None, [], {}]),
        ("email", "Alice <alice@example.com>"),
        ("email", f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.com.example"),
        ("email", "a\0@example.com"),
        ("email", "a@example.com\n"),
        *(("comment", value) for value in ["", "x" * 10_001, 1, True, None, ["x"], {"a": 1}, "a\0b", "\ud800"]),
        *(("content_id", value) for value in ["", "x" * 256, True, False, 1.0, 1e300, None, [1], {"a": 1}, "a\0"]),
        *(("content_id", value) for value in [10**255, -(10**254), "\udfff"]),
    ],
)
def test_wrong_value_names_its_field(client: FlaskClient, field: str, value: object) -> None:
    body = json.dumps({**GOOD, field: value})
    assert [one["field"] for one in refused(send(client, body))["errors"]] == [field]


def test_every_wrong_field_is_named(client: FlaskClient) -> None:
    body = json.dumps({"email": "x", "comment": "", "content_id": 1.5, "more": 1, "x" * 200: 2})
    fields = [one["field"] for one in refused(send(client, body))["errors"]]
    assert fields == ["email", "comment", "content_id", "more", "x" * 100]


SHORT = '{"email":"a@example.com","comment":"x","content_id":%s}'
NUMBER = "should be a string or an integer"
LONG = "should have at most 255 characters"


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        (SHORT % ("9" * 4_301), [("content_id", LONG)]),
        (SHORT % ("-" + "9" * 120_000), [("content_id", LONG)]),
        (SHORT % "1e999999999", [("content_id", NUMBER)]),
        (SHORT % ("9" * 4_301 + ".0"), [("content_id", NUMBER)]),
        (SHORT % '""', [("content_id", "should not be empty")]),
        (SHORT % '"\\ud800"', [("content_id", "should not contain half of a surrogate pair")]),
        (SHORT % '"\\u0000"', [("content_id", "should not contain the character NUL")]),
        (SHORT % '1,"more":1', [("more", "is not a field of a comment")]),
        (SHORT % '1,"\\ud800":1', [("?", "is not a field of a comment")]),
        ('{"content_id":1}', [("email", "is missing"), ("comment", "is missing")]),
        (
            '{"content_id":1,"comment":%s,"email":[]}' % ("9" * 4_301),
            [("email", "should be a string"), ("comment", "should be a string")],
        ),
        ('{"content_id":1,"comment":"","email":""}', [(one, "should not be empty") for one in ("email", "comment")]),
    ],
)
def test_words_for_a_field(client: FlaskClient, body: bytes, errors: list[tuple[str, str]]) -> None:
    """Ours, whichever library found the fault."""
    found = refused(send(client, body))
    assert found["message"] == "the comment is not valid"
    assert [(one["field"], one["message"]) for one in found["errors"]] == errors


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is empty"),
        (b"\xef\xbb\xbf" + (SHORT % 1).encode(), "the body starts with a byte order mark; send the JSON without one"),
        ((SHORT % 1).encode("utf-16"), "the body is not UTF-8"),
        (b'{"email":"\xff"}', "the body is not UTF-8"),
        ((SHORT % "NaN").encode(), "the body is not valid JSON: there is no NaN"),
        ((SHORT % "-Infinity").encode(), "the body is not valid JSON: there is no -Infinity"),
        ((SHORT % "1 x").encode(), "the body is not valid JSON: see line 1, column 55"),
        (b'{\n"email"', "the body is not valid JSON: see line 2, column 8"),
        (b"[" * 100_000, "the body is nested too deeply"),
        ((SHORT % ('{"a":' * 20_000)).encode(), "the body is nested too deeply"),
        ((SHORT % '1,"content_id":2').encode(), "the body gives a field twice"),
        ((SHORT % '{"a":1,"a":1}').encode(), "the body gives a field twice"),
        (b"[]", "the body should be a JSON object with email, comment and content_id"),
    ],
)
def test_words_for_a_body(client: FlaskClient, body: bytes, message: str) -> None:
    found = refused(send(client, body))
    assert found == {"status": "BAD-REQUEST", "message": message}


@pytest.mark.parametrize(
    "content_id", [".", "..", "a/..", "../a", "a/../b", "a/./b", "./", "/.", "//..//", "..\\/.", "x/" * 100 + "."]
)
def test_content_id_that_clients_would_tidy(client: FlaskClient, content_id: str) -> None:
    """`http://site/list/a/../b` is fetched as `/list/b`, and `%2E%2E` as `..`: the thread could not be read again."""
    errors = refused(client.post("/api/comment/new", json={**GOOD, "content_id": content_id}))["errors"]
    assert errors == [{"field": "content_id", "message": "should not have . or .. as a part between slashes"}]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b"not json",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"email":"a@example.com","comment":"x","content_id":' + b"9" * 5_000 + b"}",
        b'{"email":"a@example.com","comment":"x","content_id":NaN}',
        b'{"email":"a@example.com","comment":"x","content_id":-Infinity}',
        b'{"email":"a@example.com","comment":"x","content_id":1,"content_id":2}',
        b'{"email":"a@example.com","comment":"x","content_id":1} trailing',
        b'{"email":"a@example.com","comment":"\xff\xfe","content_id":1}',
        b'{"email":"a@example.com","comment":"\xed\xa0\x80","content_id":1}',
        b'{"email":"a@example.com","comment":"raw\nbreak","content_id":1}',
        '{"email":"a@example.com","comment":"x","content_id":1}'.encode("utf-16"),
        b"\xef\xbb\xbf" + b'{"email":"a@example.com","comment":"x","content_id":1}',
        b"\x00" * 100,
        b'{"email":"a@example.com","comment":"x","content_id":1,"\\ud800":1}',
    ],
)
def test_body_that_is_no_comment(client: FlaskClient, body: bytes) -> None:
    refused(send(client, body))


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "application/jsonx", "%%"])
def test_other_content_type(client: FlaskClient, kind: str) -> None:
    refused(send(client, json.dumps(GOOD), kind), 415, "UNSUPPORTED-MEDIA-TYPE")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_content_type_in_other_words(client: FlaskClient, kind: str) -> None:
    assert send(client, json.dumps(GOOD), kind).status_code == 200


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "identity, gzip", "gzip, identity", "x", ""])
@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
def test_content_encoding(client: FlaskClient, coding: str, kind: str) -> None:
    body = gzip.compress(json.dumps(GOOD).encode())
    found = client.post("/api/comment/new", data=body, content_type=kind, headers={"Content-Encoding": coding})
    message = refused(found, 415, "UNSUPPORTED-MEDIA-TYPE")["message"]
    assert message == "send the comment without a Content-Encoding"


@pytest.mark.parametrize("coding", ["identity", "Identity"])
def test_content_encoding_that_changes_nothing(client: FlaskClient, coding: str) -> None:
    assert client.post("/api/comment/new", json=GOOD, headers={"Content-Encoding": coding}).status_code == 200


def test_largest_body(client: FlaskClient) -> None:
    text = json.dumps({**GOOD, "comment": "x"})
    fits = text + " " * (128 * 1024 - len(text))
    assert send(client, fits).status_code == 200
    refused(send(client, fits + " "), 413, "PAYLOAD-TOO-LARGE")


def test_longest_comment(client: FlaskClient) -> None:
    comment = "💬" * 10_000
    body = json.dumps({**GOOD, "comment": comment}, ensure_ascii=False).encode()
    assert send(client, body).status_code == 200
    assert client.get("/api/comment/list/1").get_json()[0]["comment"] == comment


def test_every_field_of_the_longest_in_escapes(client: FlaskClient) -> None:
    """What the limits of characters allow, the limit of bytes allows, too: each of them may be a pair of escapes."""
    local = "💬" * 10
    email = f"{local}@{'a' * 60}.{'b' * 60}.{'c' * 60}.example"
    comment = {"email": email, "comment": "💬" * 10_000, "content_id": "💬" * 255}

    def escaped(text: str) -> str:
        return "".join(f"\\u{unit:04x}" for (unit,) in struct.iter_unpack(">H", text.encode("utf-16-be")))

    body = "{" + ",".join(f'"{escaped(name)}":"{escaped(value)}"' for name, value in comment.items()) + "}"
    # The longest address, were all of it such characters.
    assert 120_072 < len(body) + 12 * 254 < MAX_BODY_BYTES
    assert send(client, body).status_code == 200
    listed = client.get(f"/api/comment/list/{'💬' * 255}").get_json()
    assert listed == [{"email": email, "comment": "💬" * 10_000}]


@pytest.mark.parametrize(
    ("method", "path", "code", "status"),
    [
        ("GET", "/api/comment/new", 405, "METHOD-NOT-ALLOWED"),
        ("PUT", "/api/comment/new", 405, "METHOD-NOT-ALLOWED"),
        ("OPTIONS", "/api/comment/new", 405, "METHOD-NOT-ALLOWED"),
        ("POST", "/api/comment/list/1", 405, "METHOD-NOT-ALLOWED"),
        ("TRACE", "/healthz", 405, "METHOD-NOT-ALLOWED"),
        ("POST", "/metrics", 405, "METHOD-NOT-ALLOWED"),
        ("GET", "/", 404, "NOT-FOUND"),
        ("GET", "/api/comment/list", 404, "NOT-FOUND"),
        ("GET", "/api/comment/list/", 404, "NOT-FOUND"),
        ("POST", "/api/comment/new/", 404, "NOT-FOUND"),
        ("GET", "/healthz/", 404, "NOT-FOUND"),
        ("GET", "//healthz", 404, "NOT-FOUND"),
        ("GET", "/api/comment/list/a%00b", 404, "NOT-FOUND"),
        ("GET", f"/api/comment/list/{'x' * 256}", 404, "NOT-FOUND"),
    ],
)
def test_other_requests(client: FlaskClient, method: str, path: str, code: int, status: str) -> None:
    reply = client.open(path, method=method)
    refused(reply, code, status)
    assert ("Allow" in reply.headers) == (code == 405)


def test_what_we_break_is_json_too(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(app.extensions["storage"], "page", broken)
    for path in ("/api/comment/list/1", "/api/comment/list/1?limit=1"):
        refused(client.get(path), 500, "INTERNAL-ERROR")
