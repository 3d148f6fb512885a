"""The runbook's sections, one for each alert, read from docs/operations.md: the dashboards lead to them."""

import re
from pathlib import Path

RUNBOOK = Path(__file__).resolve().parents[3] / "docs/operations.md"
_chapter = re.search(r"^## Alerts$\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(encoding="utf-8"), re.M | re.S)
assert _chapter, f"{RUNBOOK} has no chapter Alerts"
INTRODUCTION, *_sections = re.split(r"^### (\S+)$\n", _chapter[1], flags=re.M)
SECTIONS: dict[str, str] = dict(zip(_sections[::2], _sections[1::2], strict=True))
# Of each section's panel; the introduction has the first one.
IDS = {alert: number for number, alert in enumerate(SECTIONS, 2)}


def address(alert: str) -> str:
    """The alert's section alone, on a whole page of Grafana; below wherever Grafana is."""
    return f"d/runbook?viewPanel={IDS[alert]}"
