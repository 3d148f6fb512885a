"""Moderation by operators, judged by the API's lists. For SQLite's own part, see test_moderation_sqlite.py."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from comentarios.config import Settings
from comentarios.storage import Moderation, ModerationError, NewComment, Storage, open_storage
from comentarios.storage import moderation as module
from comentarios.storage.base import SLICE, Engine, Slice
from comentarios.validation import MAX_CONTENT_ID
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

PATH = "/api/comment/list/thread"
ALICE, BOB = "alice@example.com", "bob@example.com"
Post = Callable[..., TestResponse]


@pytest.fixture
def engine(app: Flask) -> Engine:
    """The application's."""
    storage: Storage = app.extensions["storage"]
    return storage.engine


@pytest.fixture
def operator(engine: Engine) -> Moderation:
    return Moderation(engine)


def texts(client: FlaskClient, url: str = PATH) -> list[str]:
    """The texts of a whole thread, by its links."""
    found: list[str] = []
    while url:
        reply = client.get(url)
        assert reply.status_code == 200, reply.text
        found += [one["comment"] for one in reply.get_json()]
        url = reply.headers.get("Link", "").partition(">")[0].lstrip("<")
    return found


def ids(operator: Moderation) -> dict[str, int]:
    """The id of each comment by its text."""
    return {one["comment"]: one["id"] for one in operator.search(1000)}


def test_hidden_and_shown_again(client: FlaskClient, post: Post, operator: Moderation) -> None:
    """At its place, under the same id, and under cursors that were given out before."""
    for text in "abcd":
        post("thread", text)
    known = ids(operator)
    cursor = client.get(f"{PATH}?limit=2").headers["Link"].partition("<")[2].partition(">")[0]
    assert operator.hide([known["b"], known["d"]], "me", "spam") == [known["b"], known["d"]]
    assert texts(client) == ["a", "c"] == texts(client, f"{PATH}?limit=1")
    assert texts(client, cursor) == ["c"]
    post("thread", "e")
    assert texts(client, cursor) == ["c", "e"]
    assert operator.unhide([known["b"], known["d"]], "me", "no spam") == [known["b"], known["d"]]
    assert texts(client) == list("abcde") and texts(client, cursor) == list("cde")
    assert ids(operator) == known | {"e": ids(operator)["e"]}


@pytest.mark.parametrize("url", [PATH, f"{PATH}?limit=1000"])
def test_etag_changes_with_each_change(client: FlaskClient, post: Post, operator: Moderation, url: str) -> None:
    """Also of comments that are not the newest one."""

    def tag() -> str:
        return client.get(url).headers["ETag"]

    def known(etag: str) -> int:
        return client.get(url, headers={"If-None-Match": etag}).status_code

    post("thread", "first", BOB)
    post("thread", f"written by {BOB}", ALICE)
    post("thread", "newest", ALICE)
    first = ids(operator)["first"]
    tags = [tag()]
    for change in (
        lambda: operator.hide([first], "me", "spam"),
        lambda: operator.unhide([first], "me", "spam"),
        lambda: operator.erase(BOB, "me", "asked"),
    ):
        change()
        assert known(tags[-1]) == 200
        tags.append(tag())
        assert known(tags[-1]) == 304
    assert len(set(tags)) == 4


def test_etag_of_a_list_that_changes_while_it_is_read(
    client: FlaskClient, engine: Engine, operator: Moderation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slice that was read still has the comment: the next request must get another list."""
    engine.write([NewComment("thread", ALICE, f"{number}", 0) for number in range(2 * SLICE)])
    first, engine_slice = ids(operator)["0"], engine.slice

    def slice_(content_id: str, after: int, limit: int) -> Slice:
        found = engine_slice(content_id, after, limit)
        operator.hide([first], "me", "spam")
        return found

    monkeypatch.setattr(engine, "slice", slice_)
    reply = client.get(PATH)
    assert reply.get_json()[0]["comment"] == "0"
    monkeypatch.undo()
    again = client.get(PATH, headers={"If-None-Match": reply.headers["ETag"]})
    assert again.status_code == 200 and again.get_json()[0]["comment"] == "1"


def test_etag_of_a_list_that_is_read_during_an_erasure(
    client: FlaskClient, post: Post, operator: Moderation, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a comment hidden in the meantime, whose time is later."""
    for text, email in (("a", ALICE), ("b", BOB), ("c", ALICE)):
        post("thread", text, email)
    scrub, seen = engine.scrub, []

    def during() -> None:
        operator.hide([ids(operator)["c"]], "me", "spam")
        seen.append(client.get(PATH).headers["ETag"])
        scrub()

    monkeypatch.setattr(engine, "scrub", during)
    operator.erase(BOB, "me", "asked")
    assert client.get(PATH, headers={"If-None-Match": seen[0]}).status_code == 200


@pytest.mark.parametrize("gone", ["hidden", "erased"])
def test_thread_of_which_nothing_is_left(client: FlaskClient, post: Post, operator: Moderation, gone: str) -> None:
    """It is as if it had never been there."""
    post("thread", "a", ALICE)
    tag = client.get(PATH).headers["ETag"]
    never = client.get("/api/comment/list/never").get_json()
    if gone == "hidden":
        operator.hide([ids(operator)["a"]], "me", "spam")
    else:
        operator.erase(ALICE, "me", "asked")
    for url in (PATH, f"{PATH}?limit=1"):
        for known in ("", tag, "*"):
            reply = client.get(url, headers={"If-None-Match": known})
            assert reply.status_code == 404
            assert reply.get_json() == {**never, "message": never["message"].replace("never", "thread")}
    post("thread", "b")
    assert texts(client) == ["b"]


def test_no_request_finds_what_is_hidden(client: FlaskClient, post: Post, operator: Moderation) -> None:
    """Neither by the name of its thread, nor, with erased ones, by an empty name."""
    post("thread", "hidden", ALICE)
    post("thread", "erased", BOB)
    operator.hide([ids(operator)["hidden"]], "me", "spam")
    operator.erase(BOB, "me", "asked")
    assert len(module.HIDDEN) > MAX_CONTENT_ID
    for path in (module.HIDDEN + "thread", "", module.HIDDEN):
        for query in ("", "?limit=1"):
            assert client.get(f"/api/comment/list/{path}{query}").status_code == 404
        body = {"email": ALICE, "comment": "x", "content_id": path}
        assert client.post("/api/comment/new", json=body).status_code == 400


def test_ids_are_never_given_out_again(client: FlaskClient, post: Post, operator: Moderation) -> None:
    """Somebody whose cursor names an erased comment, the newest one, gets what comes next."""
    post("thread", "a")
    post("thread", "b", BOB)
    post("thread", "c", BOB)
    cursor = client.get(f"{PATH}?limit=2").headers["Link"].partition("<")[2].partition(">")[0]
    operator.erase(BOB, "me", "asked")
    post("thread", "d")
    post("thread", "e")
    assert texts(client, cursor) == ["d", "e"]


def test_same_change_twice(post: Post, operator: Moderation) -> None:
    """Idempotent: nothing happens, and nothing is recorded."""
    post("thread", "a")
    one = ids(operator)["a"]
    assert operator.unhide([one], "me", "spam") == []
    assert operator.hide([one, one], "me", "spam") == [one]
    assert operator.hide([one], "me", "spam") == []
    assert len(operator.audit(10)) == 1


def test_unknown_id_changes_nothing(client: FlaskClient, post: Post, operator: Moderation) -> None:
    post("thread", "a")
    post("thread", "b", BOB)
    known = ids(operator)
    operator.erase(BOB, "me", "asked")
    for unknown in (known["b"], 99):
        with pytest.raises(ModerationError, match=f"^there is no comment {unknown}, and nothing was changed: "):
            operator.hide([known["a"], unknown], "me", "spam")
    assert texts(client) == ["a"] and len(operator.audit(10)) == 1


def test_erase(client: FlaskClient, post: Post, operator: Moderation) -> None:
    """In whatever case, hidden or not; and nobody else's."""
    post("thread", "one", BOB)
    post("thread", "two", "Bob@Example.COM")
    post("thread", "other", "bobby@example.com")
    post("another", "hidden", BOB)
    operator.hide([ids(operator)["hidden"]], "me", f"spam of {BOB}")
    done = operator.erase(BOB, "me", f"{BOB} asked for it")
    assert done == (3, 0)
    assert texts(client) == ["other"] and list(ids(operator)) == ["other"]
    erased, hidden = operator.audit(10)
    assert (erased["action"], erased["comments"], erased["why"]) == ("erase", 3, "[erased] asked for it")
    assert hidden["why"] == "spam of [erased]"
    assert BOB not in str(operator.audit(10))


# What is left of a text when bob's address is erased; None: all of it.
LEFT = {
    "ask bob@example.com!": "ask [erased]!",
    "bob@example.com": "[erased]",
    "(BOB@EXAMPLE.COM), 'bob@example.com'.": "([erased]), '[erased]'.",
    "mailto:bob@example.com?x": "mailto:[erased]?x",
    "…bob@example.com. And": "…[erased]. And",
    "--bob@example.com and bob@example.com": "--[erased] and [erased]",
    "jim.bob@example.com bob@example.com.br bob@example.comx a@b": None,
    "bob @example.com": None,
}


def test_address_in_others_texts(client: FlaskClient, post: Post, operator: Moderation) -> None:
    for text in LEFT:
        post("thread", text, ALICE)
    assert operator.erase(BOB, "me", "asked") == (0, 6)
    assert texts(client) == [left or text for text, left in LEFT.items()]


def test_hostile_texts_do_not_hold_an_erasure_up(engine: Engine, operator: Moderation) -> None:
    hostile = [
        "a" * 9_990 + " @",
        "a.-'+" * 2_000,
        "a@" * 5_000,
        "a@" + "b." * 4_990,
        "@" * 10_000,
        "a@b" + "-" * 9_000,
    ]
    engine.write([NewComment("thread", ALICE, text, 0) for text in hostile * 5])
    started = time.monotonic()
    operator.erase(BOB, "me", "asked")
    assert time.monotonic() - started < 2


def test_erase_of_more_than_a_batch(engine: Engine, operator: Moderation) -> None:
    engine.write(
        [NewComment("thread", (ALICE, BOB)[number % 2], f"{number}", 0) for number in range(2 * module.BATCH + 50)]
    )
    assert operator.erase(BOB, "me", "asked") == (module.BATCH + 25, 0)
    assert operator.erase(BOB, "me", "asked") == (0, 0)


@pytest.mark.parametrize("step", ["begun", "half-way", "before the scrub"])
def test_erasure_that_is_interrupted(
    database_url: str, engine: Engine, operator: Moderation, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The next replica that starts completes it before it answers."""
    engine.write([NewComment("thread", (ALICE, BOB)[number % 2], f"{number}", 0) for number in range(2 * module.BATCH)])
    left = {"begun": 0, "half-way": 1, "before the scrub": 99}[step]
    rows = engine.rows

    def failing(sql: str, *values: object) -> object:
        nonlocal left
        if "email, comment FROM comments" in sql:
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
        return rows(sql, *values)

    def killed() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "rows", failing)
    monkeypatch.setattr(engine, "scrub", killed)
    with pytest.raises(KeyboardInterrupt):
        operator.erase(BOB, "me", "asked")
    # The operator tries again, in vain.
    with pytest.raises(KeyboardInterrupt):
        operator.erase(BOB, "me", "asked")
    monkeypatch.undo()
    assert [one["done_ms"] for one in operator.audit(10)] == [0, 0]
    other = open_storage(Settings(database_url=database_url))
    other.ensure_migrated()
    assert {one["email"] for one in operator.search(1000)} == {ALICE}
    assert all(one["done_ms"] for one in operator.audit(10))
    other.close()


def test_what_a_restore_brings_along(post: Post, operator: Moderation, engine: Engine, client: FlaskClient) -> None:
    """Entries of the log that are not done in this database: they are done, in order."""
    post("thread", "a")
    post("thread", "b", BOB)
    post("thread", "c")
    post("thread", "d")
    known = {one["comment"]: one for one in operator.search(10)}

    def subject(text: str) -> str:
        return f"{known[text]['id']}@{known[text]['created_ms']}"

    entries = [
        ("hide", subject("a")),
        ("hide", subject("c")),
        ("unhide", subject("a")),
        # Another comment of the same id, from before another restore; and one that the backup does not have.
        ("hide", f"{known['d']['id']}@1"),
        ("hide", "99@1"),
        ("erase", module._digest(BOB)),
        ("of a later release", "?"),
    ]
    with engine.transaction() as run:
        for entry, (action, about) in enumerate(entries, 1):
            run(module.RECORD, entry, "me", action, about, 0, "why", 0)
    before = client.get(PATH).headers["ETag"]
    operator.resume()
    assert texts(client) == ["a", "d"]
    assert client.get(PATH, headers={"If-None-Match": before}).status_code == 200
    assert [one["action"] for one in operator.audit(10)] == [action for action, _ in reversed(entries)]
    assert [bool(one["done_ms"]) for one in operator.audit(10)] == [False] + [True] * 6


@pytest.mark.parametrize("reads", [1, 2], ids=["has read the log", "has read the comments"])
def test_replicas_that_start_together(
    post: Post,
    operator: Moderation,
    engine: Engine,
    client: FlaskClient,
    monkeypatch: pytest.MonkeyPatch,
    reads: int,
) -> None:
    """One does all that is in the log when the other has read it; nothing is done or counted twice."""
    post("thread", "a")
    post("thread", "b")
    post("thread", "c", BOB)
    post("thread", f"ask {BOB}")
    known = {one["comment"]: one for one in operator.search(10)}
    entries = [(action, f"{known['a']['id']}@{known['a']['created_ms']}") for action in ("hide", "unhide", "hide")]
    with engine.transaction() as run:
        for entry, (action, about) in enumerate([*entries, ("erase", module._digest(BOB))], 1):
            run(module.RECORD, entry, "me", action, about, 0, "why", 0)
    rows = engine.rows

    def beside(sql: str, *values: object) -> object:
        nonlocal reads
        found = rows(sql, *values)
        reads -= 1
        if reads == 0:
            other = Moderation(engine)
            other.resume()
            other.unhide([known["a"]["id"]], "me", "no spam")
        return found

    monkeypatch.setattr(engine, "rows", beside)
    operator.resume()
    assert texts(client) == ["a", "b", f"ask {module.ERASED}"]
    assert [one["comments"] for one in operator.audit(10)] == [1, 1, 1, 1, 1]
    assert all(one["done_ms"] for one in operator.audit(10))


def test_log_is_in_order_whatever_the_clock_says(
    post: Post, operator: Moderation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in "abc":
        post("thread", text)
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000)
    operator.hide(list(ids(operator).values()), "me", "spam")
    operator.erase(ALICE, "me", "asked")
    entries = operator.audit(10)
    assert [one["action"] for one in entries] == ["erase", "hide", "hide", "hide"]
    assert len({one["id"] for one in entries}) == 4


# What is asked for → the times of what is found, in seconds.
SEARCHES: list[tuple[dict[str, Any], list[int]]] = [
    ({}, [3, 2, 1]),
    ({"limit": 2}, [3, 2]),
    ({"thread": "1"}, [2, 1]),
    ({"thread": "hidden"}, []),
    ({"email": "ALICE@example.com"}, [3, 1]),
    ({"email": "%"}, []),
    ({"text": "first POST"}, [1]),
    ({"text": "100 %"}, [2]),
    ({"text": "_real_ \\"}, [2]),
    ({"text": "%"}, [2]),
    ({"text": "Olá, MÜN"}, [3]),
    ({"text": "' OR '1'='1"}, []),
    ({"since_ms": 2_000}, [3, 2]),
    ({"until_ms": 2_000}, [1]),
    ({"since_ms": 2_000, "until_ms": 3_000, "thread": "1", "email": BOB, "text": "real"}, [2]),
]


def test_search(engine: Engine, operator: Moderation) -> None:
    engine.write(
        [
            NewComment("1", ALICE, "First post!", 1_000),
            NewComment("1", BOB, "100 % _real_ \\o/", 2_000),
            NewComment("2", ALICE, "Olá, MÜNCHEN", 3_000),
        ]
    )
    for hidden in (False, True):
        for asked, times in SEARCHES:
            found = operator.search(**{"limit": 10} | asked)
            assert [one["created_ms"] // 1_000 for one in found] == times, asked
            assert [one["hidden"] for one in found] == [hidden] * len(times), asked
            assert all(one["thread"] in "12" for one in found), asked
        operator.hide(list(ids(operator).values()), "me", "spam")
