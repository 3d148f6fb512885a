"""Requests per second of the API, of the original and of bare Flask; part of `make bench`.

Each server is one process on core 0, the load comes from core 1. The rounds are interleaved, so that whatever else the
machine does falls on all alike, and the table shows medians. No figure fails it.
"""

import os
import shutil
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import servers
import tables
import wrk

from common import apt

CONNECTIONS, SECONDS, ROUNDS = 16, 3, 7
LIST_PATH = "/api/comment/list/twenty"
POST, GET, NOT_MODIFIED, FIXED = "POST", "GET 20", "GET 20, 304", "fixed reply"
SERVERS: dict[str, Callable[..., servers.Server]] = {
    "API, Granian": servers.api,
    "API, gunicorn": servers.api_gunicorn,
    "original, gunicorn": servers.original,
    "bare Flask, Granian": servers.bare_granian,
    "bare Flask, gunicorn": servers.bare_gunicorn,
}


class Work(NamedTuple):
    """What wrk asks: a URL, with further options."""

    url: str
    options: tuple[str, ...] = ()


@pytest.fixture
def work(folder: Path) -> Iterator[dict[tuple[str, str], Work]]:
    """(server, workload) → its requests, while the servers run."""
    running: dict[str, servers.Server] = {}
    found: dict[tuple[str, str], Work] = {}
    try:
        for name, start in SERVERS.items():
            options: dict[str, Any] = {"cores": {0}}
            if name.startswith("API"):
                options["database_url"] = f"sqlite:///{folder}/{name}.db"
            server = running[name] = start(**options)
            if name.startswith("bare"):
                found[name, FIXED] = Work(server.url + "/")
                continue
            for number in range(20):
                text = f"Comment {number}, of an ordinary length for a comment."
                body = {"email": "alice@example.com", "comment": text, "content_id": "twenty"}
                code, reply = servers.post(server.url, body)
                assert code == 200 and reply["status"] == "SUCCESS", reply
            found[name, POST] = Work(server.url, ("-s", str(servers.HERE / "post.lua")))
            found[name, GET] = Work(server.url + LIST_PATH)
            if name.startswith("API"):
                tag = servers.tag(server.url + LIST_PATH)
                found[name, NOT_MODIFIED] = Work(server.url + LIST_PATH, ("-H", f"If-None-Match: {tag}"))
        yield found
    finally:
        for server in running.values():
            server.stop()


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="the server and the load need a core each")
def test_beside_the_original_and_bare_flask(work: dict[tuple[str, str], Work]) -> None:
    if not shutil.which("wrk"):
        apt.install("wrk")
    measured: dict[tuple[str, str], list[wrk.Measured]] = {key: [] for key in work}
    for turn in range(ROUNDS + 1):
        for key, (url, options) in work.items():
            # The first round only warms up.
            found = _load(url, SECONDS if turn else 1, options)
            if turn:
                measured[key].append(found)
    median = {key: wrk.Measured(*map(statistics.median, zip(*found, strict=True))) for key, found in measured.items()}
    lines = [
        "| server | workload | requests/s | p50 ms | p99 ms | × original | × bare Flask, same server |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for (name, workload), (rate, p50, p99, _) in median.items():
        others = (("original, gunicorn", workload), (f"bare Flask, {name.split(', ')[1]}", FIXED))
        ratios = [f"{rate / median[other].rate:.2f}" if other in median else "" for other in others]
        lines.append(f"| {name} | {workload} | {rate:,.0f} | {p50:.1f} | {p99:.1f} | {' | '.join(ratios)} |")
    tables.add(*lines)


def _load(url: str, seconds: int, options: tuple[str, ...]) -> wrk.Measured:
    command = ["taskset", "--cpu-list", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    done = subprocess.run([*command, *options, url], capture_output=True, text=True, timeout=seconds + 30, check=True)
    return wrk.read(done.stdout)
