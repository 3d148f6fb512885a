"""Timeouts and limits: the values in docs/operations.md are the real ones, and in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.haproxy import rendered
from tests.support.load import CONNECTIONS

ROOT = Path(__file__).resolve().parents[3]


def _section(name: str) -> str:
    found = re.search(rf"^## {name}$(.*?)(?=^## |\Z)", (ROOT / "docs/operations.md").read_text(), re.M | re.S)
    assert found
    return found[1]


def _number(value: str) -> float:
    """The table's values in bytes, seconds or pieces."""
    figure, _, unit = value.partition(" ")
    return float(figure) * {"ms": 0.001, "MiB": 2**20}.get(unit, 1)


TABLE = {
    name: _number(value)
    for name, value in re.findall(r"^\| ([^|]+) \| (\d[^|]*) \|", _section("Timeouts and limits"), re.M)
}


def _found(pattern: str, *parts: str) -> float:
    found = re.search(pattern, (ROOT.joinpath(*parts)).read_text(), re.M)
    assert found, f"no {pattern} in {'/'.join(parts)}"
    return float(found[1].replace("_", ""))


def _configured(pattern: str, unit: float = 1) -> float:
    found = re.search(pattern, rendered(), re.M)
    assert found, f"no {pattern} in the edge's configuration"
    return float(found[1]) * unit


OVERRIDE = ("roles", "stack", "templates", "docker-compose.override.yml.j2")
CONFIG = ("api", "comentarios", "config.py")
RELEASE = ("roles", "stack", "files", "comentarios_release", "edge.py")

SOURCES = {
    "comment": lambda: _found(r"^MAX_COMMENT = ([\d_]+)", "api", "comentarios", "validation.py"),
    "body, API": lambda: 1024 * _found(r"^MAX_BODY_BYTES = (\d+) \* 1024", *CONFIG),
    "body, edge": lambda: _configured(r"req.body_size gt (\d+)"),
    "reply": lambda: 1024 * _found(r"max_reply_bytes: int = (\d+) \* 1024", *CONFIG),
    "header": lambda: _configured(r"req.hdrs,length gt (\d+)"),
    "buffer": lambda: _configured(r"tune.bufsize (\d+)"),
    "connections": lambda: _configured(r"^    maxconn (\d+)"),
    "edge's memory": lambda: 2**20 * _found(r"  edge:(?:.|\n)*?mem_limit: (\d+)m", *OVERRIDE),
    "one client's connections": lambda: _found(
        r"^base_client_connections: (\d+)", "roles", "base", "defaults", "main.yml"
    ),
    "one client's requests at a time before it counts as crowd": lambda: _configured(
        r"acl crowded sc_conn_cur\(0\) gt (\d+)"
    ),
    "one client's requests at a time before it is refused": lambda: _configured(r"429 if { sc_conn_cur\(0\) gt (\d+)"),
    "places at a replica, everybody": lambda: _configured(r"^backend api\n(?:.*\n)*?.*maxconn (\d+)"),
    "places at a replica, crowd": lambda: _configured(r"^backend crowd\n(?:.*\n)*?.*maxconn (\d+)"),
    "requests that wait for a place, before others are refused": lambda: _configured(
        r"!crowded { queue\(api\) ge (\d+)"
    ),
    "requests that wait for a place in the second after a refusal": lambda: _configured(
        r"overload { queue\(api\) ge (\d+)"
    ),
    "requests of the crowd that wait for a place": lambda: _configured(r"queue\(crowd\) ge (\d+)"),
    "header arrives": lambda: _configured(r"timeout http-request (\d+)s"),
    "a stall of the client, either way": lambda: _configured(r"timeout client (\d+)s"),
    "whole body arrives": lambda: _configured(r"wait-for-body time (\d+)s"),
    "connect to a replica": lambda: _configured(r"timeout connect (\d+)ms", 0.001),
    "tries": lambda: _configured(r"retries (\d+)"),
    "writes wait during a move": lambda: _found(r"^HOLD_SECONDS = (\d+)", *RELEASE),
    "queue": lambda: _configured(r"timeout queue (\d+)s"),
    "wait for SQLite's lock": lambda: _found(r"busy_seconds: float = ([\d.]+)", *CONFIG),
    "wait for PostgreSQL": lambda: _found(r"connect_seconds: float = ([\d.]+)", *CONFIG),
    "edge waits for a reply": lambda: _configured(r"timeout server (\d+)s"),
    "edge keeps an idle connection to a replica": lambda: _configured(r"pool-purge-delay (\d+)s", 2),
    "edge keeps a client's idle connection": lambda: _configured(r"timeout http-keep-alive (\d+)s"),
    "old process of the edge after a reload": lambda: _configured(r"hard-stop-after (\d+)s"),
    "a release waits for that process": lambda: _found(r"^DRAIN_SECONDS = ([\d.]+)", *RELEASE),
    "a release finds the replicas in the DNS": lambda: _found(r"^DNS_SECONDS = ([\d.]+)", *RELEASE),
    "a replica serves after SIGTERM": lambda: _found(
        r"^stack_drain_seconds: (\d+)", "roles", "stack", "defaults", "main.yml"
    ),
    "edge's check of a replica": lambda: _configured(r"timeout check (\d+)s"),
    "a replica is killed after SIGTERM": lambda: _found(r"stop_grace_period: (\d+)s", *OVERRIDE),
}
# Other people's defaults.
ELSEWHERE = {"API keeps an idle connection", "load balancer keeps an idle connection, waits for a reply"}


@pytest.mark.parametrize("name", SOURCES)
def test_table_tells_the_real_value(name: str) -> None:
    assert TABLE[name] == SOURCES[name]()


def test_table_has_no_row_that_nothing_holds() -> None:
    assert set(TABLE) == set(SOURCES) | ELSEWHERE


BALANCER = TABLE["load balancer keeps an idle connection, waits for a reply"]


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        ("comment", "body, edge"),
        ("one client's connections", "connections"),
        ("one client's requests at a time before it counts as crowd", "places at a replica, everybody"),
        ("places at a replica, crowd", "places at a replica, everybody"),
        (
            "requests that wait for a place in the second after a refusal",
            "requests that wait for a place, before others are refused",
        ),
        ("header arrives", "load balancer keeps an idle connection, waits for a reply"),
        ("a stall of the client, either way", "whole body arrives"),
        ("writes wait during a move", "a stall of the client, either way"),
        ("queue", "edge waits for a reply"),
        ("wait for SQLite's lock", "edge waits for a reply"),
        ("wait for PostgreSQL", "edge waits for a reply"),
        ("edge waits for a reply", "a replica is killed after SIGTERM"),
        ("a replica serves after SIGTERM", "a replica is killed after SIGTERM"),
        ("edge keeps an idle connection to a replica", "API keeps an idle connection"),
        ("load balancer keeps an idle connection, waits for a reply", "edge keeps a client's idle connection"),
        ("edge keeps a client's idle connection", "old process of the edge after a reload"),
        ("old process of the edge after a reload", "a release waits for that process"),
    ],
)
def test_order(smaller: str, larger: str) -> None:
    assert TABLE[smaller] < TABLE[larger]


def test_sums() -> None:
    assert TABLE["body, API"] == TABLE["body, edge"]
    # What HAProxy keeps free of a buffer for its own headers.
    assert TABLE["body, edge"] + TABLE["header"] + 1024 <= TABLE["buffer"]
    # A list's link may have 255 characters, each of them four bytes and percent-encoded.
    assert TABLE["reply"] + 255 * 4 * 3 + 1024 + 1024 <= TABLE["buffer"]
    assert TABLE["connections"] * TABLE["buffer"] < TABLE["edge's memory"]
    assert TABLE["one client's requests at a time before it is refused"] == TABLE["one client's connections"]
    assert TABLE["connect to a replica"] * TABLE["tries"] == TABLE["queue"]
    assert 3 * TABLE["edge's check of a replica"] < TABLE["edge waits for a reply"]
    waiting = TABLE["requests that wait for a place, before others are refused"]
    assert waiting + 2 * TABLE["places at a replica, everybody"] < TABLE["connections"]
    crowd = TABLE["requests of the crowd that wait for a place"] + 2 * TABLE["places at a replica, crowd"]
    # One client with 200 requests a second whose replicas are busy for a second, as a release may make them.
    assert crowd >= CONNECTIONS
    waits = ("whole body arrives", "queue", "connect to a replica", "edge waits for a reply")
    assert sum(TABLE[one] for one in waits) + TABLE["queue"] < BALANCER


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"stack_domain": "comments.example.com"},
        {"stack_domain": "comments.example.com", "grafana_enabled": False},
        {"stack_trusted_proxies": ["10.0.1.0/24", "10.0.2.0/24"]},
        {"stack_client_rate": 0, "stack_client_post_rate": 0, "stack_client_post_bytes": 0},
    ],
)
def test_every_form_of_the_configuration_renders(variables: dict[str, object]) -> None:
    text = rendered(**variables)
    assert ("bind :8443 ssl" in text) == ("stack_domain" in variables)
    assert ("set-src" in text) == ("stack_trusted_proxies" in variables)
    assert ("http_req_rate(0) gt" in text) == ("stack_client_rate" not in variables)
    assert ("bytes_in_rate(1) gt" in text) == ("stack_client_post_bytes" not in variables)


def test_one_client_does_not_fill_the_volume_within_the_hour() -> None:
    """At its rate for writing, in the largest bodies, and were every byte of them stored."""
    volume = _found(r'variable "data_volume_size" {(?:.|\n)*?default += (\d+)', "terraform", "variables.tf")
    ten_seconds = _configured(r"bytes_in_rate\(1\) gt (\d+)")
    assert ten_seconds / 10 * 3600 < volume * 2**30 / 2
    # The largest comment is taken all the same, and a few of them at once.
    assert ten_seconds > 50 * (TABLE["body, edge"] + TABLE["header"])
