"""Grafana's dashboards as Python. `python -m roles.grafana.dashboards` writes their JSON."""

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from . import api, edge, host, overview, runbook, slo
from .panels import Board

OUTPUT = Path(__file__).resolve().parent.parent / "files/dashboards"


def render() -> dict[str, str]:
    """The dashboards' JSON by file name; a dashboard's uid is its file's name without the suffix."""
    encoder = JSONEncoder(sort_keys=True)
    return {f"{board.uid}.json": lines(json.loads(encoder.encode(board.build()))) + "\n" for board in boards()}


def lines(value: Any, indent: str = "") -> str:
    """JSON with one line for whatever fits into one, so that a panel's change is a short diff."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(indent) + len(line) <= 110:
        return line
    inner = f"{indent}  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(name)}: {lines(one, inner)}" for name, one in value.items()]
    else:
        parts = [lines(one, inner) for one in value]
    return f"{line[0]}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{line[-1]}"


def boards() -> list[Board]:
    return [overview.board(), api.board(), slo.board(), host.board(), edge.board(), runbook.board()]
