"""Pages of a thread: bounded by a number of comments and by bytes."""

import random
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from comentarios.app import create_app
from comentarios.config import Settings
from comentarios.draining import Draining
from comentarios.storage import NewComment
from comentarios.storage.base import SLICE
from comentarios.validation import MAX_COMMENT, MAX_LIMIT, make_cursor, parse_cursor
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

PATH = "/api/comment/list/thread"
Fill = Callable[..., None]


@pytest.fixture
def fill(app: Flask) -> Fill:
    """Store a thread of so many comments, or of these, at once."""

    def store(comments: int | list[str], content_id: str = "thread") -> None:
        if isinstance(comments, int):
            comments = [f"comment {number}" for number in range(comments)]
        app.extensions["storage"].engine.write(
            [NewComment(content_id, "a@example.com", comment, 0) for comment in comments]
        )

    return store


@pytest.mark.parametrize(
    "query",
    [
        "limit=2",
        "limit=2&",
        "limit=1&after={}",
        "after={}",
        "limit=0",
        "limit=1001",
        "limit=99999",
        "after=x",
        "limit=2&after=é",
    ]
    + ["after={}&limit=2", "limit=2&limit=3", "limit=", "after=", "limit=2after={}", "limit=%32", "limit=٢"],
)
def test_query_means_the_same_on_both_ways(client: FlaskClient, fill: Fill, query: str) -> None:
    """`Comments.fast_path` answers those of the links to next pages, Flask those with anything else."""
    fill(5)
    query = query.format(make_cursor(2))
    one, other = client.get(f"{PATH}?{query}"), client.get(f"{PATH}?{query}&x=1")
    ids = re.compile(r'"request_id":"[^"]+"')
    assert (one.status_code, ids.sub("", one.text)) == (other.status_code, ids.sub("", other.text))
    assert [one.headers.get(name) for name in ("Link", "ETag")] == [
        other.headers.get(name) for name in ("Link", "ETag")
    ]


def replies(client: FlaskClient, url: str) -> Iterator[TestResponse]:
    """The replies from `url` on, by their links."""
    following: str | None = url
    while following:
        reply = client.get(following)
        assert reply.status_code == 200, reply.text
        yield reply
        link = re.fullmatch('<([^>]+)>; rel="next"', reply.headers.get("Link", ""))
        assert link or "Link" not in reply.headers
        following = link and link[1]


def follow(client: FlaskClient, url: str) -> list[list[str]]:
    """The comments of those replies."""
    return [[one["comment"] for one in reply.get_json()] for reply in replies(client, url)]


@pytest.mark.parametrize("count", [1, SLICE - 1, SLICE, SLICE + 1, 250])
@pytest.mark.parametrize("limit", [1, SLICE - 1, SLICE, SLICE + 1, 100, 1000])
def test_pages_cover_the_thread_once(client: FlaskClient, fill: Fill, count: int, limit: int) -> None:
    fill(count)
    pages = follow(client, f"{PATH}?limit={limit}")
    assert [text for page in pages for text in page] == [f"comment {number}" for number in range(count)]
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages) == -(-count // limit)


@pytest.mark.parametrize("count", [SLICE - 1, SLICE, SLICE + 1, 3 * SLICE, MAX_LIMIT])
def test_whole_thread_without_parameters(client: FlaskClient, fill: Fill, count: int) -> None:
    fill(count)
    assert follow(client, PATH) == [[f"comment {number}" for number in range(count)]]


def test_longer_thread_without_parameters(client: FlaskClient, fill: Fill) -> None:
    """The documented maximum, and a link to the rest."""
    fill(2 * MAX_LIMIT + 1)
    pages = follow(client, PATH)
    assert [len(page) for page in pages] == [MAX_LIMIT, MAX_LIMIT, 1]
    assert [text for page in pages for text in page] == [f"comment {number}" for number in range(2 * MAX_LIMIT + 1)]


# What takes one, two (escaped), four and six bytes in JSON.
@pytest.mark.parametrize("letter", ["x", '"', "💬", "\1"])
@pytest.mark.parametrize("query", ["", "?limit=1000", "?limit=7"])
def test_a_reply_is_bounded_by_bytes(app: Flask, client: FlaskClient, fill: Fill, letter: str, query: str) -> None:
    bound = Settings.max_reply_bytes
    fill([letter * MAX_COMMENT] * 150)
    # Between them, so that a slice holds both kinds.
    fill(["short"] * 50)
    fill([letter * MAX_COMMENT] * 20)
    pages = list(replies(client, PATH + query))
    sizes = [len(reply.data) for reply in pages]
    assert sum(len(reply.get_json()) for reply in pages) == 220
    assert max(sizes) <= bound
    if query != "?limit=7":
        assert sizes[0] > 0.8 * bound


def test_comments_of_any_length_are_all_listed(client: FlaskClient, fill: Fill) -> None:
    lengths = random.Random(1)
    comments = [letter * lengths.choice([1, 100, 9_999, MAX_COMMENT]) for letter in "x\1💬" * 100]
    fill(comments)
    assert [text for page in follow(client, PATH) for text in page] == comments


def test_a_page_reads_a_slice_more_than_it_holds_at_most(
    app: Flask, client: FlaskClient, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(["x" * MAX_COMMENT] * 1_500)
    engine = app.extensions["storage"].engine
    read: list[int] = []
    slice_of = engine.slice

    def measured(*arguments: Any) -> Any:
        found = slice_of(*arguments)
        read.append(len(found.items))
        return found

    monkeypatch.setattr(engine, "slice", measured)
    reply = client.get(PATH)
    assert "Link" in reply.headers
    assert sum(read) <= len(reply.data) + max(read)


def test_a_comment_larger_than_the_bound_stands_alone(database_url: str) -> None:
    app = create_app(Settings(database_url=database_url, max_reply_bytes=1_000), Draining())
    comments = ["x" * 5_000, "y", "z", "x" * 5_000, "x" * 5_000, "z"]
    app.extensions["storage"].engine.write([NewComment("thread", "a@example.com", text, 0) for text in comments])
    pages = follow(app.test_client(), PATH)
    assert [[text[0] for text in page] for page in pages] == [["x"], ["y", "z"], ["x"], ["x"], ["z"]]
    app.extensions["storage"].close()


@pytest.mark.parametrize("path", [PATH, f"{PATH}?limit=1", "/docs", "/healthz", "/metrics", "/nowhere", f"{PATH}/none"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_reply_is_handed_over_whole(
    app: Flask, client: FlaskClient, fill: Fill, monkeypatch: pytest.MonkeyPatch, path: str, method: str
) -> None:
    """As a list: Granian keeps a thread for anything else for as long as the client takes to read it."""
    fill(100)
    handed = []

    def watched(environ: dict[str, Any], start_response: Any) -> Any:
        handed.append(inner(environ, start_response))
        return handed[0]

    inner = app.wsgi_app
    monkeypatch.setattr(app, "wsgi_app", watched)
    client.open(path, method=method)
    assert type(handed[0]) is list and all(type(part) is bytes for part in handed[0])


def test_content_id_in_a_link_is_encoded(client: FlaskClient, fill: Fill) -> None:
    fill(3, "a/b?c ñ")
    pages = follow(client, "/api/comment/list/a%2Fb%3Fc%20%C3%B1?limit=2")
    assert [len(page) for page in pages] == [2, 1]


def test_comments_that_arrive_meanwhile_come_last(client: FlaskClient, fill: Fill) -> None:
    fill(60)
    first = client.get(f"{PATH}?limit=50")
    fill(10)
    rest = client.get(first.headers["Link"].partition("<")[2].partition(">")[0])
    assert len(first.get_json()) == 50 and len(rest.get_json()) == 20


def test_page_after_the_end_is_empty(client: FlaskClient, fill: Fill) -> None:
    fill(2)
    reply = client.get(f"{PATH}?after={make_cursor(2**40)}")
    assert reply.get_json() == [] and "Link" not in reply.headers
    assert client.get(f"/api/comment/list/none?after={make_cursor(1)}").status_code == 404


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "1.5", "ten", "", "１", "99999", "1e2", " 1", "+1"])
def test_wrong_limit(client: FlaskClient, limit: object) -> None:
    reply = client.get(PATH, query_string={"limit": limit})
    assert reply.status_code == 400
    assert reply.get_json()["status"] == "BAD-REQUEST"
    assert reply.get_json()["errors"] == [
        {"field": "limit", "message": f"should be a whole number from 1 to {MAX_LIMIT}"},
    ]


@pytest.mark.parametrize("after", ["", "1", "x" * 11, "AAAAAAAAAAB", "AAAAAAAAAAA=", "ÁAAAAAAAAAA", "gAAAAAAAAAA"])
def test_wrong_cursor(client: FlaskClient, after: str) -> None:
    reply = client.get(PATH, query_string={"after": after})
    assert reply.status_code == 400
    assert reply.get_json()["errors"][0]["field"] == "after"


@pytest.mark.parametrize("number", [0, 1, 255, 2**32, 2**63 - 1])
def test_cursor_holds_any_id(number: int) -> None:
    assert parse_cursor(make_cursor(number)) == number
