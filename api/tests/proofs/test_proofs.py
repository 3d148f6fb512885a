"""The API's long proofs: kills under load, ten thousand odd bodies, a long thread, metric series, the image."""

import http.client
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import servers
import tables
from bodies import BODIES, CONTENT_TYPES, run_schemathesis
from comentarios.storage import NewComment
from comentarios.storage.sqlite import SqliteEngine
from comentarios.validation import make_cursor
from hypothesis import HealthCheck, given, settings
from image import build
from kills import kill_rounds

from common import images
from common.paths import STATE

BIG, SMALL, PAGE = 1_000_000, 100, 50


def tell(what: str, goal: str, measured: str, holds: bool) -> None:
    """A row of the table of `make prove`; fails when the goal is missed."""
    tables.add_row(("what", "goal", "measured"), (what, goal, measured))
    assert holds, f"{what}: {measured}"


@contextmanager
def asked(url: str) -> Iterator[tuple[servers.Server, http.client.HTTPConnection]]:
    """A server of this database that logs no requests, and a kept connection to it."""
    with servers.api(url, environment={"LOG_LEVEL": "warning"}) as server:
        yield server, http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)


def test_kills(folder: Path) -> None:
    outcome = kill_rounds(f"sqlite:///{folder}/kills.db", rounds=50, seconds=1.0)
    measured = (
        f"{outcome.lost} lost, {outcome.doubled} duplicated of {outcome.acknowledged:,} acknowledged "
        f"({outcome.unanswered} more were under way at a kill)"
    )
    holds = outcome.kills == 50 and outcome.acknowledged > 1000 and not outcome.lost and not outcome.doubled
    tell("`kill -9` under load, 50 times", "0 acknowledged comments lost, 0 duplicated", measured, holds)


def test_bodies(folder: Path) -> None:
    codes: dict[int, int] = {}
    with asked(f"sqlite:///{folder}/bodies.db") as (server, connection):

        @given(BODIES, CONTENT_TYPES)
        @settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def ask(body: bytes, content_type: str) -> None:
            connection.request("POST", "/api/comment/new", body, {"Content-Type": content_type})
            reply = connection.getresponse()
            json.loads(reply.read())
            codes[reply.status] = codes.get(reply.status, 0) + 1

        ask()
        faults = sum(count for code, count in codes.items() if code >= 500)
        counts = ", ".join(f"{count:,} × {code}" for code, count in sorted(codes.items()))
        holds = faults == 0 and sum(codes.values()) >= 10_000
        tell("10,000 bodies made by hypothesis", "0 replies of 5xx", f"{faults} of 5xx ({counts})", holds)
        found = run_schemathesis(server.url, examples=500)
    if found.failed:
        print(found.text, file=sys.stderr)
    measured = f"{found.failed} findings in {found.passed + found.failed:,} requests"
    tell("schemathesis, all checks", "0 findings", measured, found.failed == 0)


def test_pages(folder: Path) -> None:
    path = f"{folder}/pages.db"
    engine = SqliteEngine(path, 5)
    engine.migrate()
    text = "A comment of an ordinary length, number"
    for start in range(0, BIG, 10_000):
        # Between the rows of the long thread stand those of others, as they would in life.
        engine.write(
            [NewComment("big", "a@example.com", f"{text} {number}", 0) for number in range(start, start + 10_000)]
            + [NewComment(f"other-{number}", "a@example.com", text, 0) for number in range(start, start + 2_000)]
        )
    engine.write([NewComment("small", "a@example.com", f"{text} {number}", 0) for number in range(SMALL)])
    engine.close()
    with closing(sqlite3.connect(path)) as database:
        half = "SELECT id FROM comments WHERE content_id = 'big' ORDER BY id LIMIT 1 OFFSET ?"
        (middle,) = database.execute(half, (BIG // 2,)).fetchone()
    paths = {
        "small": f"/api/comment/list/small?limit={PAGE}",
        "first": f"/api/comment/list/big?limit={PAGE}",
        "middle": f"/api/comment/list/big?limit={PAGE}&after={make_cursor(middle)}",
    }
    took: dict[str, list[float]] = {name: [] for name in paths}
    with asked(f"sqlite:///{path}") as (_, connection):
        for turn in range(3_100):
            for name, target in paths.items():
                started = time.perf_counter()
                connection.request("GET", target)
                reply = connection.getresponse()
                comments = json.loads(reply.read())
                if turn >= 100:
                    took[name].append(time.perf_counter() - started)
                assert len(comments) == PAGE and "Link" in reply.headers, (target, reply.status, len(comments))
    median = {name: statistics.median(times) * 1000 for name, times in took.items()}
    ratio = max(median["first"], median["middle"]) / median["small"]
    measured = f"{ratio:.2f}× ({median['first']:.2f} ms first, {median['middle']:.2f} middle; {median['small']:.2f} ms)"
    tell(f"a page of {PAGE} of {BIG:,} comments against one of {SMALL}", "≤ 1.2× the time", measured, ratio <= 1.2)


def test_series(folder: Path) -> None:
    with asked(f"sqlite:///{folder}/series.db") as (server, connection):

        def count() -> int:
            with urllib.request.urlopen(server.url + "/metrics") as reply:
                return sum(not line.startswith(b"#") for line in reply)

        def ask(number: int) -> None:
            body = json.dumps({"email": "alice@example.com", "comment": "x", "content_id": f"id-{number}"})
            connection.request("POST", "/api/comment/new", body, {"Content-Type": "application/json"})
            connection.getresponse().read()
            connection.request("GET", f"/api/comment/list/id-{number}")
            connection.getresponse().read()

        ask(0)
        count()
        before = count()
        for number in range(1, 10_000):
            ask(number)
        after = count()
    tell("metric series after 10,000 content_ids", "as before", f"{before} before, {after} after", before == after)


def test_image(folder: Path) -> None:
    tag = f"comentarios-api:proof-{os.getpid()}"
    try:
        first, second = (build(tag, images.base(STATE), no_cache=True) for _ in range(2))
        size = json.loads(_docker("image", "inspect", tag))[0]["Size"] / 1e6
        # A trust store, an installer or a compiler: the final image has use for none of them.
        unwanted = r".*/([^/]+\.(crt|pem)|pip[0-9.]*|(.*-)?gcc(-[0-9]+)?|cc)"
        search = ["/", "-xdev", "-type", "f", "-regextype", "posix-extended", "-regex", unwanted]
        found = _docker("run", "--rm", "--user", "0", "--entrypoint", "find", tag, *search).split()
        folder.chmod(0o777)
        rest, after = _memory(tag, folder)
    finally:
        subprocess.run(["docker", "rmi", tag], capture_output=True)
    same = "one image ID" if first == second else f"{first[:19]} and {second[:19]}"
    tell("two builds of a commit without cache", "one image ID", f"{same}, {size:.0f} MB", first == second)
    tell("CA, pip or compiler in the image", "none", ", ".join(found) or "none", not found)
    measured = f"{rest.counted:.0f} MB ({rest.mapped:.0f} with the files it maps); "
    measured += f"after 2,000 POST {after.counted:.0f} ({after.mapped:.0f})"
    tell("memory of a replica at rest", "≤ 60 MB", measured, rest.counted <= 60)


class Usage(NamedTuple):
    """Megabytes of a container: what its memory limit counts, and its processes' proportional set size, which adds
    the pages of the image's files that they map."""

    counted: float
    mapped: float


def _memory(tag: str, folder: Path) -> tuple[Usage, Usage]:
    """Of a replica, hardened as in production: at rest, and after 2,000 comments."""
    port = servers.free_port()
    hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--log-driver", "none"]
    where = ["--volume", f"{folder}:/var/lib/comentarios", "--publish", f"127.0.0.1:{port}:8000"]
    container = _docker("run", "--detach", "--rm", *hardened, *where, tag).strip()
    url = f"http://127.0.0.1:{port}"
    try:
        servers.wait_until_ready(url, "/readyz")
        time.sleep(5)
        rest = _usage(container)
        for number in range(2_000):
            servers.post(url, {"email": "alice@example.com", "comment": "x" * 200, "content_id": number % 20})
        return rest, _usage(container)
    finally:
        subprocess.run(["docker", "stop", container], capture_output=True)


def _usage(container: str) -> Usage:
    shown = _docker("stats", "--no-stream", "--format", "{{.MemUsage}}", container).split()[0]
    match = re.fullmatch(r"([\d.]+)(KiB|MiB|GiB)", shown)
    assert match, f"docker stats shows a memory of {shown}"
    counted = float(match[1]) * {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}[match[2]] / 1e6
    shares = 0
    for line in _docker("top", container, "-o", "pid").splitlines()[1:]:
        for field in Path(f"/proc/{line.strip()}/smaps_rollup").read_text().splitlines():
            if field.startswith("Pss:"):
                shares += int(field.split()[1]) * 1024
    return Usage(counted, shares / 1e6)


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout
