"""Long proofs: ten releases and rollbacks compared with other ways, and the loss of the host."""

from __future__ import annotations

import os

import tables

from tests.support import deploy_comparison


def test_ten_releases_and_rollbacks_lose_nothing(releases):
    table, lossless = deploy_comparison.table(releases, int(os.environ.get("RUNS") or 10))
    tables.add(*table.strip().splitlines())
    assert lossless, table


def test_lost_host(up):
    """`make drill`: within its bounds, or its exit status says so."""
    done = up.make("drill", timeout=1200)
    tables.add(*(line for line in done.stdout.splitlines() if line.startswith("|")))
    assert done.returncode == 0, done.stdout[-3000:]
