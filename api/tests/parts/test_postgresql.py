"""PostgreSQL goes down and comes back."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest
import servers
from comentarios.app import create_app
from comentarios.config import Settings
from comentarios.draining import Draining
from comentarios.storage import Moderation, NewComment, StorageError, open_storage
from flask.testing import FlaskClient
from postgres import Postgres
from threads import in_threads
from werkzeug.test import TestResponse

BODY = {"email": "alice@example.com", "comment": "first post!", "content_id": 1}


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.monotonic()
    reply = call()
    return reply, time.monotonic() - started


def assert_unavailable(reply: TestResponse, seconds: float) -> None:
    assert reply.status_code == 503, reply.text
    assert reply.get_json()["status"] == "UNAVAILABLE" and int(reply.headers["Retry-After"]) >= 1
    assert seconds < 6


def assert_recovers(client: FlaskClient) -> None:
    deadline = time.monotonic() + 15
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline, "did not recover"
        time.sleep(0.2)
    assert client.post("/api/comment/new", json=BODY).status_code == 200


@pytest.fixture
def client(postgres: Postgres) -> Iterator[FlaskClient]:
    app = create_app(Settings(database_url=postgres.new_database()), Draining())
    yield app.test_client()
    app.extensions["storage"].close()


def test_goes_away_and_comes_back(postgres: Postgres, client: FlaskClient) -> None:
    assert client.post("/api/comment/new", json=BODY).status_code == 200
    postgres.stop()
    try:
        assert_unavailable(*timed(lambda: client.post("/api/comment/new", json=BODY)))
        assert_unavailable(*timed(lambda: client.get("/api/comment/list/1")))
        assert_unavailable(*timed(lambda: client.get("/api/comment/list/1?limit=1")))
        assert_unavailable(*timed(lambda: client.get("/readyz")))
        assert client.get("/healthz").status_code == 200
        assert "comments_api_database_size_bytes NaN" in client.get("/metrics").text
    finally:
        postgres.start()
    assert_recovers(client)
    assert len(client.get("/api/comment/list/1").get_json()) == 2


@pytest.fixture
def elsewhere() -> Iterator[tuple[Postgres, Callable[[], object]]]:
    """A server that only the network reaches, and what makes it unreachable: nothing is answered any more."""
    name, inside, outside = (f"pg{end}{os.getpid()}" for end in ("", "i", "o"))
    address = IPv4Interface(f"198.18.{os.getpid() % 256}.2/24")

    def ip(*arguments: str) -> object:
        return subprocess.run(["ip", *arguments], check=True)

    ip("netns", "add", name)
    ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", name)
    ip("address", "add", f"{address.network[1]}/24", "dev", outside)
    ip("link", "set", outside, "up")
    ip("-n", name, "address", "add", str(address), "dev", inside)
    ip("-n", name, "link", "set", inside, "up")
    server = Postgres.create(address, name)
    # Its own side is up, so this machine sends on.
    yield server, lambda: ip("-n", name, "address", "flush", "dev", inside)
    server.remove()
    ip("link", "delete", outside)
    ip("netns", "delete", name)


def test_machine_is_gone_while_it_is_waited_for(elsewhere: tuple[Postgres, Callable[[], object]]) -> None:
    """What was sent has arrived, so TCP has nothing to send again and would wait for hours."""
    server, vanish = elsewhere
    storage = open_storage(Settings(database_url=server.network_url))

    def wait() -> None:
        with pytest.raises(StorageError):
            storage.engine.rows("SELECT pg_sleep(2.5)")

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    time.sleep(1)
    vanish()
    waiting.join(8)
    assert not waiting.is_alive(), "it still waits"
    storage.close()


def test_not_there_at_the_start(postgres: Postgres) -> None:
    url = postgres.new_database()
    postgres.stop()
    try:
        app, seconds = timed(lambda: create_app(Settings(database_url=url), Draining()))
        client = app.test_client()
        assert seconds < 6
        assert_unavailable(*timed(lambda: client.get("/readyz")))
    finally:
        postgres.start()
    assert_recovers(client)
    app.extensions["storage"].close()


def test_restart_between_two_requests_costs_at_most_one_refusal(postgres: Postgres, client: FlaskClient) -> None:
    """The pool may hold connections that died; none may stay in use."""
    for _ in range(3):
        assert client.post("/api/comment/new", json=BODY).status_code == 200
        postgres.stop()
        postgres.start()
        assert_recovers(client)
        assert client.get("/api/comment/list/1").status_code == 200


def test_a_lock_that_stays_taken_is_given_up(postgres: Postgres) -> None:
    import psycopg

    url = postgres.new_database()
    app = create_app(Settings(database_url=url, connect_seconds=1), Draining())
    client = app.test_client()
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE comments")
        assert_unavailable(*timed(lambda: client.post("/api/comment/new", json=BODY)))
    assert_recovers(client)
    assert len(client.get("/api/comment/list/1").get_json()) == 1
    app.extensions["storage"].close()


def test_readers_of_a_database_that_hangs_do_not_queue_up(postgres: Postgres) -> None:
    """Each may wait for its turn and for the database once, however many there are."""
    import psycopg

    url = postgres.new_database()
    app = create_app(Settings(database_url=url, connect_seconds=1), Draining())
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE comments")
        replies = in_threads(32, lambda _: timed(lambda: app.test_client().get("/api/comment/list/1")))
    for reply, seconds in replies:
        assert reply.status_code == 503 and seconds < 3.5
    app.extensions["storage"].close()


@pytest.mark.parametrize("level", ["info", "debug"])
def test_log_has_a_line_for_each_request(postgres: Postgres, tmp_path: Path, level: str) -> None:
    """What the pool does for each statement is in it at debug only."""
    log = tmp_path / "log"
    with servers.api(postgres.new_database(), log=log, environment={"LOG_LEVEL": level}) as server:
        assert servers.post(server.url, BODY)[0] == 200
        assert servers.read_thread(server.url, "1") == ["first post!"]
    loggers = [json.loads(line)["logger"] for line in log.read_text().splitlines() if '"logger"' in line]
    assert loggers.count("comentarios.request") >= 3  # With /readyz.
    assert ("psycopg.pool" in loggers) == (level == "debug")


def test_others_write_while_an_address_is_erased(postgres: Postgres) -> None:
    """Every comment is acknowledged, none of the address is left, and none of the others' is lost."""
    url = postgres.new_database()
    replicas = [open_storage(Settings(database_url=url)) for _ in range(3)]
    comments = [NewComment("old", f"{number % 2}@example.com", "0@example.com", 0) for number in range(2_000)]
    # One that starts meanwhile erases, too, and each counts its own.
    for replica in replicas:
        replica.ensure_migrated()
    replicas[0].engine.write(comments)

    def work(number: int) -> None:
        if number == 2:
            assert Moderation(replicas[2].engine).erase("0@example.com", "me", "asked") == (1_000, 1_000)
            return
        for _ in range(200):
            replicas[number].add(NewComment("new", "2@example.com", "text", 0))

    assert in_threads(3, work) == [None] * 3
    found = Moderation(replicas[0].engine).search(5_000)
    assert len(found) == 1_400 and {one["email"][0] for one in found} == {"1", "2"}
    assert {one["comment"] for one in found} == {"[erased]", "text"}
    assert replicas[0].engine.kept() == []
    for replica in replicas:
        replica.close()


def test_scrub_that_fails_leaves_no_connection_without_a_timeout(postgres: Postgres) -> None:
    storage = open_storage(Settings(database_url=postgres.new_database()))
    storage.ensure_migrated()
    with storage.engine.transaction() as run:
        run("ALTER TABLE audit RENAME TO elsewhere")
    with pytest.raises(StorageError, match="audit"):
        storage.engine.scrub()
    assert storage.engine.rows("SHOW statement_timeout") == [("3s",)]
    storage.close()


def test_pages_hide_no_comment_that_commits_late(postgres: Postgres) -> None:
    """PostgreSQL gives ids out before it commits; readers who page must not step over one."""
    url, comment = postgres.new_database(), NewComment("1", "alice@example.com", "first post!", 0)
    replicas = [open_storage(Settings(database_url=url)) for _ in range(3)]
    replicas[0].ensure_migrated()
    seen, stop = [], threading.Event()

    def read() -> None:
        last = 0
        while True:
            ended = stop.is_set()
            page = replicas[0].engine.slice("1", last, 100)
            seen.append(page.length)
            last = page.last.id if page.last else last
            if ended and page.length == 0:
                return

    def write(number: int) -> None:
        for _ in range(60):
            replicas[number].add(comment)

    reader = threading.Thread(target=read)
    reader.start()
    written = in_threads(3, write)
    stop.set()
    reader.join(30)
    assert written == [None] * 3
    assert sum(seen) == 180
    for replica in replicas:
        replica.close()
