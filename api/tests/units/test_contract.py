"""The challenge's contract."""

import json
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

Post = Callable[..., TestResponse]


def test_challenge_commands(client: FlaskClient) -> None:
    created = client.post(
        "/api/comment/new",
        data='{"email":"alice@example.com","comment":"first post!","content_id":1}',
        content_type="application/json",
    )
    assert created.status_code == 200
    assert created.text == '{"status":"SUCCESS","message":"comment created and associated with content_id 1"}'

    listed = client.get("/api/comment/list/1")
    assert listed.status_code == 200
    assert listed.text == '[{"email":"alice@example.com","comment":"first post!"}]'

    missing = client.get("/api/comment/list/9")
    assert missing.status_code == 404
    assert missing.text == '{"status":"NOT-FOUND","message":"content_id 9 not found"}'
    assert {reply.mimetype for reply in (created, listed, missing)} == {"application/json"}


def test_number_and_text_are_one_content_id(client: FlaskClient, post: Post) -> None:
    post(1, "as a number")
    post("1", "as text")
    comments = client.get("/api/comment/list/1").get_json()
    assert [one["comment"] for one in comments] == ["as a number", "as text"]


def test_oldest_first_and_threads_apart(client: FlaskClient, post: Post) -> None:
    for number in range(30):
        post(number % 3, f"comment {number}")
    comments = client.get("/api/comment/list/2").get_json()
    assert [one["comment"] for one in comments] == [f"comment {number}" for number in range(2, 30, 3)]


@pytest.mark.parametrize(
    "text",
    ["ñandú, 評論, 💬", 'quotes " and \\ and </script>', "line\nbreak\ttab\r\x01\x1f\x7f", "\u2028\ufeff", " "],
)
def test_text_comes_back_as_it_went(client: FlaskClient, post: Post, text: str) -> None:
    post("text", text, "Ñandú@Example.com")
    assert client.get("/api/comment/list/text").get_json() == [{"email": "Ñandú@Example.com", "comment": text}]


@pytest.mark.parametrize(
    ("content_id", "path"),
    [
        ("blog/2026/first", "blog/2026/first"),
        ("blog/2026/first", "blog%2F2026%2Ffirst"),
        ("/leading", "/leading"),
        ("trailing/", "trailing/"),
        ("two//slashes", "two//slashes"),
        ("a b?c#d&e=f%", "a%20b%3Fc%23d%26e%3Df%25"),
        ("ñandú 💬", "%C3%B1and%C3%BA%20%F0%9F%92%AC"),
        ("...", "..."),
        ("a/..b/.c", "a/..b/.c"),
        ("line\nbreak", "line%0Abreak"),
        ("x" * 255, "x" * 255),
        ("-5", "-5"),
    ],
)
def test_content_id_of_any_characters(client: FlaskClient, post: Post, content_id: str, path: str) -> None:
    reply = post(content_id)
    assert reply.get_json()["message"] == f"comment created and associated with content_id {content_id}"
    assert len(client.get(f"/api/comment/list/{path}").get_json()) == 1
    assert client.get("/api/comment/list/x").status_code == 404


@pytest.mark.parametrize("number", [0, -1, 2**63, 10**254, -(10**253)])
def test_content_id_of_any_size(client: FlaskClient, post: Post, number: int) -> None:
    post(number)
    assert len(client.get(f"/api/comment/list/{number}").get_json()) == 1


def test_keys_stand_in_the_order_of_the_contract(client: FlaskClient, post: Post) -> None:
    assert list(json.loads(post(1).text)) == ["status", "message"]


def test_comments_outlive_the_application(app: Flask, client: FlaskClient, post: Post, database_url: str) -> None:
    from comentarios.app import create_app
    from comentarios.config import Settings

    post("kept", "still here")
    again = create_app(Settings(database_url=database_url))
    assert again.test_client().get("/api/comment/list/kept").get_json()[0]["comment"] == "still here"
    again.extensions["storage"].close()
