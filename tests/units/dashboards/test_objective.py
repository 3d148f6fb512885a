"""The latency objective is in the rules; all copies of the figure are the same."""

from __future__ import annotations

import re
from pathlib import Path

import comentarios_release.watch
from comentarios.metrics import BUCKETS

from roles.grafana.dashboards.bounds import OBJECTIVE, RULES

ROOT = Path(__file__).resolve().parents[3]


def test_the_release_watches_the_objective() -> None:
    assert comentarios_release.watch.SLOW_SECONDS == OBJECTIVE


def test_the_objective_is_a_bucket() -> None:
    assert OBJECTIVE in BUCKETS


def test_texts_tell_the_objective() -> None:
    texts = {path: (ROOT / path).read_text() for path in ("docs/operations.md", "docs/passo-a-passo.md")}
    texts["rules"] = (RULES / "slo.yml").read_text()
    found = {path: re.findall(r"(?:longer than|abaixo de) (\d+) ms", text) for path, text in texts.items()}
    assert found == {path: [f"{OBJECTIVE * 1000:.0f}"] for path in texts}
