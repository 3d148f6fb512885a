"""Grafana's dashboards as Python, which writes them as JSON: `python -m roles.grafana.dashboards`."""

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from . import api, edge, host, overview, runbook, slo
from .panels import Board

OUTPUT = Path(__file__).resolve().parent.parent / "files/dashboards"


def render() -> dict[str, str]:
    """The dashboards' JSON by file name; a dashboard's uid is its file's name without the suffix."""
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return {f"{board.uid}.json": encoder.encode(board.build()) + "\n" for board in boards()}


def boards() -> list[Board]:
    return [overview.board(), api.board(), slo.board(), host.board(), edge.board(), runbook.board()]
