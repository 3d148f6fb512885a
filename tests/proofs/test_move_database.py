"""`make move-database` on a serving site: from SQLite to PostgreSQL and back, with a million comments, and with kills.

Prints the table for docs/measurements.md.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import threading
import urllib.request
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

import psycopg
import pytest
from postgres import Postgres

from cli import terraform
from common.paths import STATE
from tests.support import replies
from tests.support.releases import Releases
from tests.support.site import Site

TABLES = STATE / "proofs.md"
ROWS = int(os.environ.get("MOVE_ROWS", "1000000"))
FILLED_THREADS = 10_000
RATE = 50  # reads, and as many posts, a second
PARAMETER = "/comentarios/database_url"
TO = {"sqlite": {"TO": "sqlite"}, "postgresql": {"TO": PARAMETER, "TF_VAR_database_url_parameter": PARAMETER}}
# More than writes may wait: what takes longer is a figure here, and no failure.
TIMEOUT = 30.0
READ = "SELECT id, content_id, email, comment, created_ms FROM comments WHERE id <= {last} ORDER BY id"
FILL = """
import sqlite3
with sqlite3.connect("/var/lib/comentarios/comentarios.db", timeout=60) as opened:
    opened.executemany(
        "INSERT INTO comments (content_id, email, comment, created_ms) VALUES (?, ?, ?, ?)",
        ((f"filled {n % THREADS}", "filled@example.com", f"{n} " + "x" * 150, n) for n in range(ROWS)),
    )
"""
DIGEST = """
import hashlib, sqlite3
opened, digest, count = sqlite3.connect("/var/lib/comentarios/comentarios.db"), hashlib.sha256(), 0
for row in opened.execute("READ"):
    digest.update(repr(row).encode())
    count += 1
print(count, digest.hexdigest())
"""

LAST = """
import sqlite3
print(*sqlite3.connect("/var/lib/comentarios/comentarios.db").execute("SELECT max(id) FROM comments").fetchone())
"""


@pytest.fixture(scope="module")
def postgres(up: Site) -> Iterator[Postgres]:
    """A server at the sandbox's gateway, where RDS would be in the VPC."""
    network = IPv4Network(os.environ["SANDBOX_SUBNET"])
    server = Postgres.create(IPv4Interface(f"{network[1]}/{network.prefixlen}"))
    terraform.client(up.target, "ssm").put_parameter(
        Name=PARAMETER, Type="SecureString", Value=server.network_url, Overwrite=True
    )
    yield server
    server.remove()


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """Rows of the table that `make prove` prints."""
    rows = [
        "| move under load | comments | took | writes waited | slowest request | requests | failed | lost / doubled |",
        "|---|---|---|---|---|---|---|---|",
    ]
    yield rows
    with TABLES.open("a") as file:
        file.write("\n" + "\n".join(rows) + "\n")


def move(up: Site, to: str) -> str:
    done = up.make("move-database", timeout=1800, WATCH="2", **TO[to])
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def in_replica(releases: Releases, program: str, timeout: float = 600) -> str:
    find = "docker ps --quiet --filter label=com.docker.compose.service=api | head -1"
    done = releases.run(f"docker exec $({find}) python -c {shlex.quote(program)}", timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout


def digest(releases: Releases, postgres: Postgres, kind: str, last: int) -> str:
    """The number of comments up to an id, and a digest of all that is in them, read from a database itself."""
    read = READ.format(last=last)
    if kind == "sqlite":
        return in_replica(releases, DIGEST.replace("READ", read)).strip()
    found, count = hashlib.sha256(), 0
    with (
        psycopg.connect(postgres.url.replace("/postgres", "/comentarios")) as connection,
        connection.cursor("rows") as cursor,
    ):
        cursor.itersize = 10_000
        for row in cursor.execute(read):
            found.update(repr(row).encode())
            count += 1
    return f"{count} {found.hexdigest()}"


def page(edge: str, path: str) -> tuple[bytes, str]:
    """A page's body and its link to the next one."""
    with urllib.request.urlopen(f"{edge}{path}", timeout=30) as reply:
        return reply.read(), (reply.headers["Link"] or "").partition(">")[0].lstrip("<")


def doubled(releases: Releases, report: dict[str, Any]) -> int:
    """How many of the load's comments are listed more than once."""
    listed = [replies.comments(releases.edge, thread, timeout=30) for thread in report["acknowledged"]]
    return sum(len(texts) - len(set(texts)) for texts in listed)


def row(releases: Releases, what: str, comments: int, report: dict[str, Any]) -> str:
    last, sent = releases.last(), sum(report["sent"].values())
    failed = ", ".join(f"{count} {kind}" for kind, count in report["failed"].items()) or "0"
    lost = f"{report['missing']} / {doubled(releases, report)}"
    times = f"{last['finished'] - last['started']:.0f} s | {last['held_seconds']} s | {report['worst']:.1f} s"
    return f"| {what} | {comments:,} | {times} | {sent:,} | {failed} | {lost} |"


def test_killed_again_and_again(up: Site, releases: Releases, postgres: Postgres, table: list[str]) -> None:
    """The program and the step that it runs, by SIGKILL, later each time: every step is hit, and the move ends well."""
    for to in ("postgresql", "sqlite"):
        ended = threading.Event()
        kills = [0]

        def kill(ended: threading.Event = ended, kills: list[int] = kills) -> None:
            before = releases.last()["number"]
            while releases.last()["number"] == before and not ended.wait(0.1):
                pass
            for number in range(12):
                if ended.wait(0.5 + 0.4 * number) or releases.known()["by"] is None:
                    return
                # Every other time the step, too, which else ends by itself.
                also = "; docker kill comentarios-move" if number % 2 else ""
                releases.run(f"sudo systemctl kill --signal=KILL comentarios-release{also}")
                kills[0] += 1

        killer = threading.Thread(target=kill)
        with releases.load(RATE, TIMEOUT) as report:
            killer.start()
            try:
                move(up, to)
            finally:
                ended.set()
                killer.join()
        table.append(row(releases, f"to {to}, killed {kills[0]} times", 0, report))
        assert kills[0] >= 3
        assert "GET" not in report["failed"], report["failures"]
        # Refused with a reason, for as long as nobody carries on.
        assert set(report["reasons"]) <= {"status 503"}, report["reasons"]
        assert not report["missing"] and not doubled(releases, report)


def test_a_million_comments_there_and_back(up: Site, releases: Releases, postgres: Postgres, table: list[str]) -> None:
    in_replica(releases, FILL.replace("ROWS", str(ROWS)).replace("THREADS", str(FILLED_THREADS)))
    first, link = page(releases.edge, "/api/comment/list/filled%207?limit=5")
    second = page(releases.edge, link)[0]
    last = int(in_replica(releases, LAST))
    before = digest(releases, postgres, "sqlite", last)
    for to in ("postgresql", "sqlite"):
        with releases.load(RATE, TIMEOUT) as report:
            move(up, to)
        table.append(row(releases, f"to {to}", ROWS, report))
        assert not report["failed"] and not report["missing"] and not doubled(releases, report), report["failures"]
        assert releases.last()["kind"] == "move" and releases.last()["held_seconds"] <= 10
        # A page that was read before, and a link that was given out before.
        assert page(releases.edge, "/api/comment/list/filled%207?limit=5") == (first, link)
        assert page(releases.edge, link)[0] == second
        assert digest(releases, postgres, to, last) == before


def test_settings_that_name_another_database_change_nothing(up: Site, releases: Releases, postgres: Postgres) -> None:
    """`make up` by somebody who does not know of the verb."""
    before = releases.live()
    done = up.make("up", timeout=900, TF_VAR_database_url_parameter=PARAMETER)
    assert done.returncode != 0 and "`make move-database TO=…` takes them along" in done.stdout, done.stdout[-2000:]
    assert releases.live() == before
    replies.post(releases.edge, "goes on", "after the refusal")
    corrected = up.make("up", timeout=900)
    assert corrected.returncode == 0, corrected.stdout[-2000:]
    assert "nothing to move" in move(up, "sqlite")
