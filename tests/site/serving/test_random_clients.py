"""Clients that stall, disconnect, half-close or send slowly at random: each 2xx is a stored comment."""

from __future__ import annotations

import os
import uuid

import tables

from tests.support.clients import WHOLE, Client, Outcome, random_posts
from tests.support.site import Site

PROVE = os.environ.get("PROVE") == "yes"
POSTS = 10_000 if PROVE else 300
SEED = 22


def test_whoever_is_told_so_has_a_stored_comment(up: Site) -> None:
    client = Client(up.host.address)
    outcome = random_posts(client, POSTS, SEED, f"random-{uuid.uuid4().hex[:8]}")
    missing = outcome.missing(client)
    if PROVE:
        _tell(outcome, missing)
    assert not outcome.wrong, (len(outcome.wrong), outcome.wrong[:5])
    assert missing == 0
    assert sum(map(len, outcome.acknowledged.values())) == sum(
        count for (kind, _), count in outcome.statuses.items() if kind in WHOLE
    )


def _tell(outcome: Outcome, missing: int) -> None:
    """Appends the table to what `make prove` prints."""
    lines = ["| client sends | replies |", "|---|---|"]
    for kind in sorted({kind for kind, _ in outcome.statuses}):
        found = {status: count for (one, status), count in sorted(outcome.statuses.items()) if one == kind}
        shown = ", ".join(f"{count:,} × {status or 'closed'}" for status, count in found.items())
        lines.append(f"| {kind} | {shown} |")
    acknowledged = sum(map(len, outcome.acknowledged.values()))
    lines.append(f"\nOf {acknowledged:,} posts that were told 2xx, {missing} are not stored.")
    tables.add(*lines)
