"""``make check``, ``test``, ``prove``, ``bench`` and ``capacity``: pytest, and a Docker Engine while it runs."""

import os
import subprocess
import sys

from cli import downloads
from cli.targets import Target
from common import engine
from common.paths import ROOT, TABLES
from common.progress import say

# A folder is a tier. After the sites, the cheap tier comes first, so that it fails first.
TIERS = {
    "site": ("tests/site",),
    "check": ("tests/lint", "tests/units", "api/tests/units"),
    "parts": ("api/tests/parts", "tests/parts"),
}
CAPACITY = "tests/proofs/test_capacity.py"
# With PROVE=yes the tests outside the folders `proofs` do more.
PROVE = (
    "api/tests/proofs",
    "tests/parts/sandbox/test_aws.py",
    "tests/site/serving/test_clients.py",
    "tests/site/serving/test_molecule.py",
    "tests/site/serving/test_random_clients.py",
    "tests/site/serving/test_readme.py",
    "tests/proofs",
    # It leaves the site with another database, and has a verb of its own.
    f"--ignore={CAPACITY}",
)
BENCH = ("api/tests/proofs/test_speed.py", "tests/proofs/test_edge_speed.py")


def bench(_: Target) -> int:
    """Compares the API with the original and bare Flask, and the edge with a bare proxy. No figure fails it.

    Returns pytest's exit status.
    """
    return _tables(*BENCH)


def capacity(_: Target) -> int:
    """Measures the load that a host of each instance type carries: prints each figure at once, and then the table."""
    return _tables(CAPACITY)


def prove(_: Target) -> int:
    """Runs the long proofs and prints their tables. Returns pytest's exit status."""
    return _tables(*PROVE, prove=True)


def _tables(*tests: str, prove: bool = False) -> int:
    with engine.running():
        TABLES.unlink(missing_ok=True)
        status = _pytest(*tests, prove=prove)
        say(TABLES.read_text() if TABLES.exists() else "")
        return status


def check(_: Target) -> int:
    """Runs linters, types and units, side by side. Returns pytest's exit status."""
    return _pytest("-n", "auto", "--dist", "worksteal", *TIERS["check"])


def test(_: Target, tiers: str) -> int:
    """Runs every test once, on three workers: two have a site each, one the rest (tests/conftest.py).

    Returns pytest's exit status.

    Args:
        tiers: those that run; CI chooses some, for its jobs run side by side.
    """
    chosen = tiers.split() or list(TIERS)
    folders = [folder for tier in TIERS if tier in chosen for folder in TIERS[tier]]
    with engine.running():
        # The sites' containers get the CPU first.
        os.nice(5)
        workers = 2 * ("site" in chosen) + (set(chosen) != {"site"})
        # With several workers, percentages would be those of one.
        return _pytest("-n", str(workers), "--dist", "each", "-o", "console_output_style=classic", *folders)


def _pytest(*arguments: str, prove: bool = False) -> int:
    """Runs pytest; its own summary is the last that is printed."""
    downloads.ensure_terraform()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--durations=15", *arguments]
    environment = {**os.environ, "PROVE": "yes" if prove else ""}
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
