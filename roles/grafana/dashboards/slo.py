"""The dashboard of the two objectives: what is left of their budgets, and the burn rates."""

import re

from .api import counted
from .bounds import EXPRESSIONS, GROUPS, OBJECTIVE
from .panels import FULL, HOST, OR_ZERO, QUARTER, Board, Limits, Query

OBJECTIVES = {
    "availability": "99.9 % of the requests at the edge get no 5xx reply",
    "latency": f"99 % of the requests that the API answers take at most {OBJECTIVE * 1000:.0f} ms",
}
# The alerts' pairs of windows, long and short, and the burn rate at which both fire.
PAIR = re.compile(r"slo:burn_rate:(\w+) > ([\d.]+) and slo:burn_rate:(\w+) > \2")
RULES = [rule for group in GROUPS for rule in group["rules"] if rule.get("record", "").endswith("requests:rate5m")]
WINDOWS = [
    (alert, long, short, float(bound))
    for alert in ("ErrorBudgetBurnFast", "ErrorBudgetBurnSlow")
    for long, bound, short in PAIR.findall(EXPRESSIONS[alert])
]


def selector(slo: str) -> str:
    return f'{{slo="{slo}", {HOST}}}'


def day(record: str, slo: str) -> str:
    """The number of requests in the last 24 hours, by the rule that records their rate as `record`."""
    (expr,) = (rule["expr"] for rule in RULES if rule["record"] == record and rule["labels"]["slo"] == slo)
    counters = [f"{name}{{{labels}, {HOST}}}" for name, labels in re.findall(r"(\w+)\{([^}]*)\}", expr)]
    # The edge outlives releases. Slow requests are all requests minus the fast ones.
    grown = [
        counted(one, "1d", "86400") if slo == "latency" else f"sum by (host) (increase({one}[1d]))" for one in counters
    ]
    return f"({' - '.join(grown)}) {OR_ZERO}"


def budget_left(b: Board, slo: str, width: int, link: str = "") -> None:
    b.number(
        f"Budget left: {slo}",
        f"{OBJECTIVES[slo]}, over 30 days or since the first data. Below 0, the objective is missed.",
        "percentunit",
        Query(f"slo:budget_left:ratio30d{selector(slo)}", "left"),
        Limits(amber=0.5, red=0.1),
        width=width,
        decimals=1,
        link=link,
    )


def board() -> Board:
    b = Board("slo", "Objectives", "Service level objectives over 30 days.", span="now-24h")
    for slo in OBJECTIVES:
        of = selector(slo)
        b.row(slo.capitalize(), "more than half of the budget is left, and the burn rate is below 1.")
        budget_left(b, slo, QUARTER)
        b.number(
            f"Burn rate, 1 h: {slo}",
            "At 1, the budget lasts exactly 30 days; at 14.4, a fiftieth of it is used in an hour.",
            "none",
            Query(f"slo:burn_rate:1h{of}", "burn rate"),
            Limits(amber=1, red=14.4),
            width=QUARTER,
        )
        b.number(
            f"Bad requests, 24 h: {slo}",
            "Requests in the last 24 hours that missed the objective.",
            "short",
            Query(day("slo:bad_requests:rate5m", slo), "bad", now=True),
            width=QUARTER,
            decimals=0,
        )
        b.number(
            f"Requests, 24 h: {slo}",
            "Requests in the last 24 hours, without clients' errors (4xx).",
            "short",
            Query(day("slo:requests:rate5m", slo), "requests", now=True),
            width=QUARTER,
            decimals=0,
        )
        b.graph(
            f"Budget left over time: {slo}",
            "What is left of the budget of the last 30 days.",
            "percentunit",
            Query(f"slo:budget_left:ratio30d{of}", "left"),
            top=1,
        )
        b.graph(
            f"Bad requests: {slo}",
            "Requests per second without 4xx, and those that missed the objective.",
            "reqps",
            Query(f"slo:requests:rate5m{of}", "counted"),
            Query(f"slo:bad_requests:rate5m{of}", "bad"),
        )

    b.row("Burn rates", "every line is below 1: the budget lasts 30 days.")
    for alert, long, short, bound in WINDOWS:
        severity = "page somebody" if bound >= 6 else "are for the next working day"
        b.graph(
            f"Burn rate, {long} and {short}",
            f"How fast the budgets are used. Both windows of an objective above {bound} {severity}.",
            "none",
            Query(
                f"slo:burn_rate:{long}{{{HOST}}}", f"{{{{slo}}}} {long}", (f"availability {long}", f"latency {long}")
            ),
            Query(
                f"slo:burn_rate:{short}{{{HOST}}}",
                f"{{{{slo}}}} {short}",
                (f"availability {short}", f"latency {short}"),
            ),
            limits=Limits(None, bound, alert),
        )
    b.firing("Budget alerts", 'alertname=~"ErrorBudget.*"', FULL)
    return b
