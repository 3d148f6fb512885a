"""Pages of a thread, on both engines."""

import re

import pytest
from comentarios.comments import CHUNK
from comentarios.storage import NewComment
from comentarios.validation import MAX_LIMIT, make_cursor, parse_cursor

PATH = "/api/comment/list/thread"


@pytest.fixture
def fill(app):
    """Store a thread of so many comments at once."""

    def store(count: int, content_id: str = "thread"):
        engine = app.extensions["storage"].engine
        engine.write([NewComment(content_id, "a@example.com", f"comment {number}", 0) for number in range(count)])

    return store


def follow(client, url: str) -> list[list[str]]:
    """The pages from `url` on, by their links."""
    pages = []
    while url:
        reply = client.get(url)
        assert reply.status_code == 200, reply.text
        pages.append([one["comment"] for one in reply.json])
        link = reply.headers.get("Link")
        url = re.fullmatch(r'<([^>]+)>; rel="next"', link)[1] if link else None
    return pages


@pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
@pytest.mark.parametrize("limit", [1, 50, 100, 101, 1000])
def test_pages_cover_the_thread_once(client, fill, count, limit):
    fill(count)
    pages = follow(client, f"{PATH}?limit={limit}")
    assert [text for page in pages for text in page] == [f"comment {number}" for number in range(count)]
    assert all(len(page) == limit for page in pages[:-1])
    assert len(pages) == -(-count // limit)


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 1234])
def test_whole_thread_without_parameters(client, fill, count):
    fill(count)
    assert follow(client, PATH) == [[f"comment {number}" for number in range(count)]]


def test_content_id_in_a_link_is_encoded(client, fill):
    fill(3, "a/b?c ñ")
    pages = follow(client, "/api/comment/list/a%2Fb%3Fc%20%C3%B1?limit=2")
    assert [len(page) for page in pages] == [2, 1]


def test_comments_that_arrive_meanwhile_come_last(client, fill):
    fill(60)
    first = client.get(f"{PATH}?limit=50")
    fill(10)
    rest = client.get(re.match("<([^>]+)>", first.headers["Link"])[1])
    assert len(first.json) == 50 and len(rest.json) == 20


def test_page_after_the_end_is_empty(client, fill):
    fill(2)
    reply = client.get(f"{PATH}?after={make_cursor(2**40)}")
    assert reply.json == [] and "Link" not in reply.headers
    assert client.get(f"/api/comment/list/none?after={make_cursor(1)}").status_code == 404


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "1.5", "ten", "", "１", "99999", "1e2", " 1", "+1"])
def test_wrong_limit(sqlite_client, limit):
    reply = sqlite_client.get(PATH, query_string={"limit": limit})
    assert reply.status_code == 400
    assert reply.json["status"] == "BAD-REQUEST"
    assert reply.json["errors"] == [
        {"field": "limit", "message": f"should be a whole number from 1 to {MAX_LIMIT}"},
    ]


@pytest.mark.parametrize("after", ["", "1", "x" * 11, "AAAAAAAAAAB", "AAAAAAAAAAA=", "ÁAAAAAAAAAA", "gAAAAAAAAAA"])
def test_wrong_cursor(sqlite_client, after):
    reply = sqlite_client.get(PATH, query_string={"after": after})
    assert reply.status_code == 400
    assert reply.json["errors"][0]["field"] == "after"


@pytest.mark.parametrize("number", [0, 1, 255, 2**32, 2**63 - 1])
def test_cursor_holds_any_id(number):
    assert parse_cursor(make_cursor(number)) == number
