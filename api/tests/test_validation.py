"""Whatever is sent, the answer is JSON of the documented shape and never our fault."""

import json

import pytest

GOOD = {"email": "alice@example.com", "comment": "first post!", "content_id": 1}


def refused(reply, code=400, status="BAD-REQUEST"):
    assert reply.status_code == code, reply.text
    assert reply.mimetype == "application/json"
    assert reply.json["status"] == status
    assert isinstance(reply.json["message"], str) and reply.json["message"]
    assert set(reply.json) <= {"status", "message", "errors"}
    return reply.json


def send(client, body, content_type="application/json"):
    return client.post("/api/comment/new", data=body, content_type=content_type)


@pytest.mark.parametrize("field", list(GOOD))
def test_missing_field(sqlite_client, field):
    body = {name: value for name, value in GOOD.items() if name != field}
    errors = refused(sqlite_client.post("/api/comment/new", json=body))["errors"]
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
def test_wrong_value_names_its_field(sqlite_client, field, value):
    body = json.dumps({**GOOD, field: value})
    assert [one["field"] for one in refused(send(sqlite_client, body))["errors"]] == [field]


def test_every_wrong_field_is_named(sqlite_client):
    body = json.dumps({"email": "x", "comment": "", "content_id": 1.5, "more": 1, "x" * 200: 2})
    fields = [one["field"] for one in refused(send(sqlite_client, body))["errors"]]
    assert fields == ["email", "comment", "content_id", "more", "x" * 100]


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
def test_body_that_is_no_comment(sqlite_client, body):
    refused(send(sqlite_client, body))


@pytest.mark.parametrize("kind", ["text/plain", "", "application/x-www-form-urlencoded", "application/jsonx", "%%"])
def test_other_content_type(sqlite_client, kind):
    refused(send(sqlite_client, json.dumps(GOOD), kind), 415, "UNSUPPORTED-MEDIA-TYPE")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_content_type_in_other_words(sqlite_client, kind):
    assert send(sqlite_client, json.dumps(GOOD), kind).status_code == 200


def test_largest_body(sqlite_client):
    text = json.dumps({**GOOD, "comment": "x"})
    fits = text + " " * (64 * 1024 - len(text))
    assert send(sqlite_client, fits).status_code == 200
    refused(send(sqlite_client, fits + " "), 413, "PAYLOAD-TOO-LARGE")


def test_longest_comment(client):
    comment = "💬" * 10_000
    body = json.dumps({**GOOD, "comment": comment}, ensure_ascii=False).encode()
    assert send(client, body).status_code == 200
    assert client.get("/api/comment/list/1").json[0]["comment"] == comment


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
def test_other_requests(client, method, path, code, status):
    reply = client.open(path, method=method)
    refused(reply, code, status)
    assert ("Allow" in reply.headers) == (code == 405)


def test_what_we_break_is_json_too(sqlite_app, sqlite_client, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(sqlite_app.extensions["storage"], "page", broken)
    for path in ("/api/comment/list/1", "/api/comment/list/1?limit=1"):
        refused(sqlite_client.get(path), 500, "INTERNAL-ERROR")
