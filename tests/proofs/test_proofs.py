"""What takes too long for every run: ten releases and rollbacks beside other ways, and the loss of the host."""

from __future__ import annotations

import os

from common.paths import STATE
from tests.support import deploy_comparison

TABLES = STATE / "proofs.md"


def test_ten_releases_and_rollbacks_lose_nothing(releases):
    table, lossless = deploy_comparison.table(releases, int(os.environ.get("RUNS") or 10))
    with TABLES.open("a") as file:
        file.write(table)
    assert lossless, table


def test_lost_host(up):
    """`make drill`: within its bounds, or its exit status says so."""
    done = up.make("drill", timeout=1200)
    with TABLES.open("a") as file:
        file.write("\n" + "\n".join(line for line in done.stdout.splitlines() if line.startswith("|")) + "\n")
    assert done.returncode == 0, done.stdout[-3000:]
