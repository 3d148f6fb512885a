"""ETag and 304: a client has the list already, and the thread has not changed."""

from collections.abc import Callable
from pathlib import Path

import pytest
from comentarios.app import create_app
from comentarios.config import Settings
from comentarios.draining import Draining
from comentarios.storage import NewComment
from comentarios.storage.base import Slice
from comentarios.validation import make_cursor, parse_cursor
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

PATH = "/api/comment/list/thread"
Post = Callable[..., TestResponse]


def ask(client: FlaskClient, known: str, url: str = PATH, method: str = "GET") -> TestResponse:
    return client.open(url, method=method, headers={"If-None-Match": known})


# With another query than a page's, Flask answers; without one, `Comments.fast_path`.
@pytest.mark.parametrize("url", [PATH, f"{PATH}?limit=2", f"{PATH}?limit=1000", f"{PATH}?limit=2&x=1"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_list_that_has_not_changed(client: FlaskClient, post: Post, url: str, method: str) -> None:
    for _ in range(3):
        post("thread")
    first = client.open(url, method=method)
    tag = first.headers["ETag"]
    assert first.status_code == 200 and first.headers["Cache-Control"] == "no-cache"
    again = ask(client, tag, url, method)
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert "Content-Type" not in again.headers and "Content-Length" not in again.headers
    assert again.headers["Cache-Control"] == "no-cache" and again.headers["X-Request-ID"]
    post("another thread")
    assert ask(client, tag, url, method).status_code == 304
    post("thread")
    changed = ask(client, tag, url, method)
    assert changed.status_code == 200 and changed.headers["ETag"] != tag


def test_forms_of_the_header(client: FlaskClient, post: Post) -> None:
    post("thread")
    tag = client.get(PATH).headers["ETag"]
    assert tag.startswith('"') and tag.endswith('"')
    for known, status in {
        f"W/{tag}": 304,
        f'"another", {tag}': 304,
        f'W/"another",W/{tag}': 304,
        "*": 304,
        '"another"': 200,
        tag.strip('"'): 200,
        f"{tag}x": 200,
        ",": 200,
        "": 200,
    }.items():
        assert ask(client, known).status_code == status, known


@pytest.mark.parametrize("known", ["*", '"1-1-1"'])
def test_thread_without_comments_is_not_found(client: FlaskClient, known: str) -> None:
    for url in (PATH, f"{PATH}?limit=1", "/api/comment/list/" + "x" * 300):
        assert ask(client, known, url).status_code == 404


def test_each_page_has_the_tag_of_its_thread(client: FlaskClient, post: Post) -> None:
    """The empty one behind the end, too."""
    for number in range(3):
        post("thread", f"{number}")
    url, tags = f"{PATH}?limit=1", []
    while url:
        reply = client.get(url)
        tags.append(reply.headers["ETag"])
        assert ask(client, tags[-1], url).status_code == 304
        url = reply.headers.get("Link", "").partition(">")[0].lstrip("<")
    assert len(tags) == 3 and len(set(tags)) == 1


def test_comment_that_comes_while_the_end_of_a_thread_is_read(
    app: Flask, client: FlaskClient, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tag must not say that the client has it."""
    post("thread", "first")
    first = client.get(PATH).headers["ETag"]
    post("thread", "second")
    after = client.get(f"{PATH}?limit=1").headers["Link"].partition("after=")[2].partition(">")[0]
    end = make_cursor(parse_cursor(after) + 1)
    engine = app.extensions["storage"].engine
    engine_slice, late = engine.slice, ["third"]

    def slice_(content_id: str, after: int, limit: int) -> Slice:
        found = engine_slice(content_id, after, limit)
        if not found.length and late:
            engine.write([NewComment("thread", "a@example.com", late.pop(), 0)])
        return found

    monkeypatch.setattr(engine, "slice", slice_)
    page = client.get(f"{PATH}?after={end}")
    assert [one["comment"] for one in page.get_json()] == ["third"] and not late
    assert page.headers["ETag"] not in (first, "")


def test_other_comments_with_the_same_ids(tmp_path: Path, post: Post, client: FlaskClient) -> None:
    """As after a restore: what came after the backup is gone, and its ids come again."""
    post("thread", "before")
    tag = client.get(PATH).headers["ETag"]
    other = create_app(Settings(database_url=f"sqlite:///{tmp_path}/other.db"), Draining())
    other.extensions["storage"].engine.write([NewComment("thread", "a@example.com", "after", 1)])
    reply = ask(other.test_client(), tag)
    assert reply.status_code == 200 and reply.get_json()[0]["comment"] == "after"
    other.extensions["storage"].close()


def test_another_build_may_write_the_same_comments_in_another_way(
    database_url: str, client: FlaskClient, post: Post
) -> None:
    post("thread")
    tag = client.get(PATH).headers["ETag"]
    other = create_app(Settings(database_url=database_url, commit="0123abc"), Draining())
    assert ask(other.test_client(), tag).status_code == 200
    other.extensions["storage"].close()
