"""Health, metrics and logs."""

import io
import json
import logging
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from comentarios.app import create_app
from comentarios.config import ConfigError, Settings
from comentarios.draining import Draining
from comentarios.logs import MAX_LINES, MAX_WRITE, JsonFormatter, Lines
from comentarios.storage import StorageUnavailable
from flask import Flask
from flask.testing import FlaskClient


def metrics(client: FlaskClient) -> dict[str, float]:
    """Each series with its value."""
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_health_names_version_and_commit(sqlite_url: str) -> None:
    app = create_app(Settings(database_url=sqlite_url, version="1.2.3", commit="abc1234"), Draining())
    reply = app.test_client().get("/healthz")
    assert reply.get_json() == {"status": "SUCCESS", "message": "alive", "version": "1.2.3", "commit": "abc1234"}
    series = metrics(app.test_client())
    assert series['comments_api_build_info{commit="abc1234",version="1.2.3"}'] == 1


def test_ready_when_it_can_write_and_read(client: FlaskClient) -> None:
    assert client.get("/readyz").get_json() == {"status": "SUCCESS", "message": "ready"}


def test_draining(sqlite_url: str) -> None:
    draining = Draining()
    client = create_app(Settings(database_url=sqlite_url), draining).test_client()
    assert "Connection" not in client.get("/readyz").headers
    draining.begin()
    ready = client.get("/readyz")
    assert ready.status_code == 503 and ready.get_json()["status"] == "UNAVAILABLE" and "Retry-After" in ready.headers
    assert client.get("/healthz").status_code == 200
    # Still served, and the edge's kept connections end with it.
    body = {"email": "alice@example.com", "comment": "last", "content_id": 1}
    assert client.post("/api/comment/new", json=body).headers["Connection"] == "close"
    assert client.get("/api/comment/list/1").headers["Connection"] == "close"


def test_first_failure_is_a_step_from_zero(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A series that began at 1 would rise by nothing."""

    def page(*_: object) -> None:
        raise StorageUnavailable("gone")

    client = app.test_client()
    rule = 'url_rule="/api/comment/list/<path:content_id>"'
    failures = f'flask_http_request_duration_seconds_count{{method="GET",status="503",{rule}}}'
    assert metrics(client)[failures] == 0
    monkeypatch.setattr(app.extensions["storage"], "page", page)
    client.get("/api/comment/list/1")
    assert metrics(client)[failures] == 1


def test_metrics_of_both_ways_to_answer(client: FlaskClient, post: Callable[..., Any]) -> None:
    post(1)
    client.get("/api/comment/list/1")
    client.get("/api/comment/list/1?limit=1")
    client.get("/api/comment/list/2")
    client.get("/nowhere")
    series = metrics(client)
    rule = 'url_rule="/api/comment/list/<path:content_id>"'
    count = "flask_http_request_duration_seconds_count"
    assert series[f'{count}{{method="GET",status="200",{rule}}}'] == 2
    assert series[f'{count}{{method="GET",status="404",{rule}}}'] == 1
    assert series[f'{count}{{method="GET",status="404",url_rule="no route"}}'] == 1
    assert series[f'{count}{{method="POST",status="200",url_rule="/api/comment/new"}}'] == 1
    assert series['flask_http_request_total{method="GET",status="200"}'] == 2
    assert series["comments_api_comments_created_total"] == 1
    assert series['comments_api_storage_duration_seconds_count{operation="insert"}'] == 1
    assert series['comments_api_storage_duration_seconds_count{operation="list"}'] == 3
    assert series['comments_api_storage_duration_seconds_bucket{le="0.25",operation="ping"}'] == 0
    assert series["comments_api_database_size_bytes"] > 0
    assert series["comments_api_requests_in_flight"] == 0  # not even the one that asks
    assert series["process_resident_memory_bytes"] > 0
    bound = f'flask_http_request_duration_seconds_bucket{{le="0.25",method="GET",status="200",{rule}}}'
    assert series[bound] == 2


def test_series_do_not_grow_with_content_ids(client: FlaskClient) -> None:
    def ask(numbers: range) -> None:
        for number in numbers:
            body = {"email": "alice@example.com", "comment": "x", "content_id": f"id-{number}"}
            assert client.post("/api/comment/new", json=body).status_code == 200
            assert client.get(f"/api/comment/list/id-{number}").status_code == 200
            assert client.get(f"/api/comment/list/id-{number}?limit=5").status_code == 200
            assert client.get(f"/api/comment/list/none-{number}").status_code == 404

    ask(range(5))
    before = len(metrics(client))
    ask(range(5, 50))
    assert len(metrics(client)) == before


def test_series_do_not_grow_with_methods(client: FlaskClient) -> None:
    """Anybody can invent a method; each would be a series of its own for as long as the process lives."""
    for number in range(50):
        for path in ("/api/comment/list/1", "/nowhere"):
            refused = client.open(path, method=f"MADE-UP-{number}", data=b"x" * 100)
            assert refused.status_code == 405 and refused.get_json()["status"] == "METHOD-NOT-ALLOWED"
            assert "POST" in refused.headers["Allow"]
    series = metrics(client)
    assert not [name for name in series if "MADE-UP" in name]
    assert series['flask_http_request_total{method="OTHER",status="405"}'] == 100


def test_path_that_is_not_utf8_is_counted_and_its_body_read(client: FlaskClient) -> None:
    body = io.BytesIO(b"x" * 100)
    for method in ("POST", "MADE-UP"):
        place = {"PATH_INFO": "/api/comment/list/\xff"}
        refused = client.open(method=method, input_stream=body, content_length=100, environ_overrides=place)
        assert refused.status_code == 400 and refused.get_json()["message"] == "the path is not UTF-8"
    assert body.tell() == 100
    series = metrics(client)
    assert series['flask_http_request_total{method="POST",status="400"}'] == 1
    assert series['flask_http_request_total{method="OTHER",status="400"}'] == 1


@pytest.mark.parametrize("given", ["checkout-42", "a.b_c-D", "x" * 128])
def test_request_id_is_taken(client: FlaskClient, capsys: pytest.CaptureFixture[str], given: str | None) -> None:
    for path in ("/api/comment/list/1", "/healthz"):
        assert client.get(path, headers={"X-Request-ID": given}).headers["X-Request-ID"] == given
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["request_id"] for line in lines if line["logger"] == "comentarios.request"] == [given, given]


def test_lines_that_follow_each_other_are_written_together(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """When there are many of them, when somebody asks for it, and at once when the process may end. None is lost."""
    draining = Draining()
    app = create_app(Settings(database_url=sqlite_url), draining)
    lines: Lines = app.extensions["lines"]
    lines.pause = math.inf

    def written(requests: int) -> list[int]:
        found = []
        for _ in range(requests):
            app.test_client().get("/healthz")
            found.append(len(capsys.readouterr().err.splitlines()))
        return found

    assert written(2 * MAX_LINES + 1) == 2 * ([0] * (MAX_LINES - 1) + [MAX_LINES]) + [0]
    lines.write()
    assert len(capsys.readouterr().err.splitlines()) == 1
    draining.begin()
    assert written(2) == [1, 1]


def test_long_lines_are_written_in_pieces_that_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces: list[str] = []
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(write=pieces.append))
    lines = Lines()
    lines.pause = math.inf
    for number in range(MAX_LINES):
        lines.add(f"{number} {'x' * 1500}\n")
    assert "".join(pieces).count("\n") == MAX_LINES
    assert all(piece.endswith("\n") and len(piece) <= MAX_WRITE for piece in pieces)


@pytest.mark.parametrize("path", ["/api/comment/list/1", "/api/comment/list/1?limit=5"])
@pytest.mark.parametrize(("raised", "code"), [(StorageUnavailable("gone"), 503), (ZeroDivisionError("bug"), 500)])
def test_what_went_wrong_has_the_requests_id(
    app: Flask, path: str, raised: Exception, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever way the request goes. What is logged outside of a request has none."""

    def page(*_: object) -> None:
        raise raised

    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(JsonFormatter())
    monkeypatch.setattr(logging.getLogger("comentarios.errors"), "handlers", [handler])
    monkeypatch.setattr(app.extensions["storage"], "page", page)
    assert app.test_client().get(path, headers={"X-Request-ID": "checkout-42"}).status_code == code
    logging.getLogger("comentarios.errors").error("later")
    first, last = (json.loads(line) for line in log.getvalue().splitlines())
    assert first["level"] == "error" and first["request_id"] == "checkout-42"
    assert last["message"] == "later" and "request_id" not in last


@pytest.mark.parametrize("given", [None, "", "a b", 'a"b', "x" * 129, "ñ"])
def test_request_id_is_given(client: FlaskClient, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given}
    seen = {client.get("/healthz", headers=headers).headers["X-Request-ID"] for _ in range(3)}
    assert len(seen) == 3 and all(re.fullmatch("[0-9a-f]{32}", one) for one in seen)


def test_log_line_of_a_request(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.get('/api/comment/list/ñ"%0A')
    line = json.loads(capsys.readouterr().err)
    assert line.pop("request_id") and line.pop("duration_ms") > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "info",
        "logger": "comentarios.request",
        "method": "GET",
        "path": '/api/comment/list/ñ"\n',
        "status": 404,
    }


def test_log_line_is_bounded(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever anybody asks for; the longest content_id is shown whole."""
    content_id = "💬" * 255
    client.get(f"/api/comment/list/{content_id}")
    client.get(f"/api/comment/list/{content_id * 10}")
    whole, cut = capsys.readouterr().err.splitlines()
    assert json.loads(whole)["path"] == f"/api/comment/list/{content_id}"
    assert json.loads(cut)["path"] == f"/api/comment/list/{content_id * 10}"[:500]
    assert len(cut) < 8_000


def test_warning_level_leaves_requests_out(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    app = create_app(Settings(database_url=sqlite_url, log_level="warning"), Draining())
    app.test_client().get("/healthz")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DATABASE_URL", "mysql://x/y", "sqlite:/// or postgresql://"),
        ("DATABASE_URL", "comentarios.db", "no scheme"),
        ("DATABASE_URL", "sqlite://", "must name a file"),
        ("DATABASE_URL", "sqlite:comentarios.db", "must name a file"),
        ("DATABASE_URL", "SQLITE:///comentarios.db", "must start with sqlite:///"),
        ("DATABASE_URL_FILE", "/absent", "DATABASE_URL_FILE names /absent, which cannot be read: No such file"),
        ("DATABASE_URL_FILE", "/dev/null", "DATABASE_URL_FILE names /dev/null, which cannot be read: it is empty"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("DRAIN_SECONDS", "soon", "DRAIN_SECONDS must be a number from 0 to 3600 (seconds)"),
        ("DRAIN_SECONDS", "-1", "DRAIN_SECONDS must be a number from 0 to 3600 (seconds)"),
        ("HOST", "localhost", "HOST must be an IP address, not 'localhost'"),
        ("PORT", "0", "PORT must be a number from 1 to 65535 (a TCP port), not '0'"),
        ("PORT", "8000.5", "PORT must be a number from 1 to 65535 (a TCP port), not '8000.5'"),
        ("PORT", "8e3", "PORT must be a number from 1 to 65535 (a TCP port), not '8e3'"),
        ("DRAIN_SECONDS", "nan", "DRAIN_SECONDS must be a number from 0 to 3600 (seconds)"),
    ],
)
def test_wrong_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=re.escape(says)):
        Settings.from_env()


def test_database_url_from_a_file_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://somewhere/comments\n")
    monkeypatch.setenv("DATABASE_URL", "sqlite:///ignored.db")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))
    assert Settings.from_env().database_url == "postgresql://somewhere/comments"


def test_docs_page_is_self_contained(client: FlaskClient) -> None:
    page = client.get("/docs")
    assert page.mimetype == "text/html"
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page.text)
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
