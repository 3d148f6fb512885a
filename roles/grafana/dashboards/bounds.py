"""The alerts' bounds, read from the rules, so that thresholds on dashboards are the same."""

import math
import re
from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).resolve().parents[2] / "prometheus/files/rules"
# The latency objective in seconds: the histogram's bucket in the rules.
OBJECTIVE = float(*re.findall(r'_duration_seconds_bucket{.*le="([\d.]+)"', (RULES / "slo.yml").read_text()))
COMPARISON = re.compile(r"[<>]=? *([\d.]+(?: *\* *[\d.]+)*)")


GROUPS: list[dict[str, Any]] = [
    group for path in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(path.read_text())["groups"]
]
EXPRESSIONS: dict[str, str] = {
    rule["alert"]: rule["expr"] for group in GROUPS for rule in group["rules"] if "alert" in rule
}


def bound(alert: str) -> float:
    """The last number that the alert's expression compares with."""
    return math.prod(float(factor) for factor in COMPARISON.findall(EXPRESSIONS[alert])[-1].split("*"))
