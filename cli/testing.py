"""``make check``, ``make test``, ``make prove`` and ``make bench``: pytest, and a Docker Engine while it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from cli.targets import Target
from common import engine, images
from common.paths import ROOT, STATE
from common.progress import say

# A folder is a tier. The sites take longest, so two of the three workers of `make test` have one each from the start.
# Of the rest, what is cheap fails first.
TIERS = {
    "site": ("tests/site",),
    "check": ("tests/lint", "tests/units", "api/tests/units"),
    "parts": ("api/tests/parts", "tests/parts"),
}
# With PROVE=yes the tests outside tests/proofs do more.
PROVE = (
    "tests/parts/sandbox/test_aws.py",
    "tests/site/serving/test_clients.py",
    "tests/site/serving/test_random_clients.py",
    "tests/proofs",
)
EDGE_SPEED = "tests/proofs/test_edge_speed.py"
FAULTS, TABLES = STATE / "faults.jsonl", STATE / "proofs.md"


def bench(_: Target) -> int:
    """Prints how fast the API is beside the original and bare Flask, and what the edge costs; the exit status.

    No figure fails it.
    """
    done = subprocess.run([sys.executable, ROOT / "api" / "bench" / "bench.py"], cwd=ROOT, check=False).returncode
    with engine.running(STATE / "engine"):
        TABLES.unlink(missing_ok=True)
        tested = _pytest(EDGE_SPEED)
        say(TABLES.read_text() if TABLES.exists() else "")
    return 1 if done or tested else 0


def prove(target: Target) -> int:
    """Runs the long proofs, the API's first, and prints their tables; returns 1 when one failed."""
    with engine.running(STATE / "engine"):
        base = images.base(target.state)
        command: list[str | Path] = [sys.executable, ROOT / "api" / "bench" / "prove.py", "--base", base]
        proved = subprocess.run(command, cwd=ROOT, check=False).returncode
        for file in (FAULTS, TABLES):
            file.unlink(missing_ok=True)
        tested = _pytest(*PROVE, prove=True)
        _print_faults()
        say(TABLES.read_text() if TABLES.exists() else "")
        return 1 if tested or proved else 0


def _print_faults() -> None:
    rows = [json.loads(line) for line in FAULTS.read_text().splitlines()] if FAULTS.exists() else []
    columns = {
        "fault": "fault",
        "requests": "requests",
        "failed": "failed",
        "other_body": "2xx with another body",
        "missing": "acknowledged comments missing",
        "seconds": "seconds from first to last failure",
    }
    say(f"| {' | '.join(columns.values())} |\n{'|---' * len(columns)}|")
    for row in rows:
        say(f"| {' | '.join(str(row[name]) for name in columns)} |")


def check(_: Target) -> int:
    """Runs linters, types and units, side by side. Returns pytest's exit status."""
    return _pytest("-n", "auto", "--dist", "worksteal", *TIERS["check"])


def test(_: Target, tiers: str) -> int:
    """Runs every test once, on three workers: two have a site each, one the rest. Returns pytest's exit status.

    Args:
        tiers: those that run; CI chooses some, for its jobs run side by side.
    """
    chosen = tiers.split() or list(TIERS)
    folders = [folder for tier in TIERS if tier in chosen for folder in TIERS[tier]]
    with engine.running(STATE / "engine"):
        # The sites' containers come first. All of them together count as one process of ours.
        os.nice(5)
        return _pytest("-n", "3", "--dist", "loadscope", "--no-loadscope-reorder", *folders)


def _pytest(*arguments: str, prove: bool = False) -> int:
    """Runs pytest; its own summary is the last that is printed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--durations=15", *arguments]
    environment = {**os.environ, "PROVE": "yes" if prove else ""}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
