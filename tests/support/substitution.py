"""A dashboard's queries with its variables filled in, as Grafana does."""

import re
from dataclasses import dataclass
from typing import Any

# Seconds, the data source's `timeInterval`: Prometheus' scrape interval.
SCRAPE = 15
# Grafana asks for about as many points as a panel has pixels.
POINTS = 1000
UNITS = {"m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Query:
    """A query of a panel, ready to be sent. `seconds` back from now, a point every `step` seconds."""

    dashboard: str
    panel: str
    ref: str
    expr: str
    seconds: int
    step: int
    instant: bool

    @property
    def key(self) -> tuple[str, str, str]:
        return self.dashboard, self.panel, self.ref


def _span(board: dict[str, Any]) -> int:
    found = re.fullmatch(r"now-(\d+)([mhd])", board["time"]["from"])
    assert found, board["time"]
    return int(found[1]) * UNITS[found[2]]


def fill_in(expr: str, seconds: int, step: int, values: dict[str, str]) -> str:
    """`$__rate_interval` spans at least four scrapes; see Grafana's documentation of the Prometheus data source."""
    names = {
        "__rate_interval": f"{max(step + SCRAPE, 4 * SCRAPE)}s",
        "__interval": f"{step}s",
        "__range": f"{seconds}s",
        "__range_s": str(seconds),
    } | values
    filled = re.sub(r"\$(\w+)", lambda match: names[match[1]], expr)
    assert "$" not in filled, f"{expr}: a variable in a form that is not filled in"
    return filled


def variables(board: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The dashboard's query variables by name."""
    return {v["name"]: v for v in board.get("templating", {}).get("list", []) if v["type"] == "query"}


def queries(uid: str, board: dict[str, Any], chosen: dict[str, str] | None = None) -> list[Query]:
    """Every query of every panel, with the variables' `chosen` values, by default all of them."""
    seconds = _span(board)
    step = max(SCRAPE, round(seconds / POINTS))
    values = {name: v["allValue"] for name, v in variables(board).items()} | (chosen or {})
    found = [
        Query(
            uid,
            panel["title"],
            target["refId"],
            fill_in(target["expr"], seconds, step, values),
            seconds,
            step,
            bool(target["instant"]),
        )
        for panel in board["panels"]
        for target in panel.get("targets", [])
    ]
    return found + [
        Query(uid, f"annotation {a['name']}", "A", fill_in(a["expr"], seconds, step, values), seconds, 60, False)
        for a in board.get("annotations", {}).get("list", [])
    ]
