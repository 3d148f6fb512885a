"""``make check`` and ``make test``: pytest, with a Docker Engine for as long as it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from sandbox import images
from sandbox.config import Config
from sandbox.progress import say
from verbs import engine
from verbs.environment import ROOT, STATE

UNITS = ("tests/sandbox", "tests/verbs", "tests/backup", "api/tests")
CHECK = ("tests/lint", *UNITS)
# What is cheap fails first, for as long as `make up` takes beside it; test_site.py wants the site as that leaves it.
ALL = (
    *UNITS,
    "tests/e2e/test_claim.py",
    "tests/e2e/test_site.py",
    "tests/e2e/test_identity.py",
    "tests/e2e/test_backup.py",
    "tests/e2e/test_development.py",
    "tests/e2e/test_containers.py",
    "tests/e2e/test_domain.py",
    # It is refused at port 22 twice, and sshd keeps who is away for a while: what needs no host comes next.
    "tests/e2e/test_doors.py",
    "tests/lint",
    "tests/terraform",
    "tests/monitoring",
    # The scenarios run since test_site.py. They are over before there is load whose every request counts.
    "tests/e2e/test_molecule.py",
    "tests/release",
    "tests/faults",
    # The site has two hosts and another database afterwards.
    "tests/hosts",
)
FAULTS, TABLES = STATE / "faults.jsonl", STATE / "proofs.md"


def bench() -> int:
    """Prints the API's table of requests per second beside the original's and bare Flask's; the exit status."""
    return subprocess.run([sys.executable, ROOT / "api" / "bench" / "bench.py"], cwd=ROOT, check=False).returncode


def prove() -> int:
    """Runs the long proofs, the API's first, and prints their tables; returns 1 when one failed."""
    with engine.running(STATE / "engine"):
        base = images.base(Config())
        command: list[str | Path] = [sys.executable, ROOT / "api" / "bench" / "prove.py", "--base", base]
        proved = subprocess.run(command, cwd=ROOT, check=False).returncode
        os.environ["PROVE"] = "yes"
        for file in (FAULTS, TABLES):
            file.unlink(missing_ok=True)
        tested = pytest("tests/backup", "tests/release", "tests/faults", "tests/proofs")
        _print_faults()
        say(TABLES.read_text() if TABLES.exists() else "")
        return 1 if tested or proved else 0


def _print_faults() -> None:
    rows = [json.loads(line) for line in FAULTS.read_text().splitlines()] if FAULTS.exists() else []
    columns = ("fault", "requests", "failed", "acknowledged comments missing", "seconds from first to last failure")
    say(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for row in rows:
        say(f"| {row['fault']} | {row['requests']} | {row['failed']} | {row['missing']} | {row['seconds']} |")


def pytest(*paths: str) -> int:
    """Runs pytest over paths; its own summary is the last that is printed. Returns its exit status."""
    there = [path for path in paths if (ROOT / path).exists()]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--durations=15", *there]
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    with engine.running(STATE / "engine"):
        return subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, check=False).returncode
