"""The sections of docs/operations.md, chapter Alerts, one for each alert. The dashboards link to them."""

import re
from pathlib import Path

RUNBOOK = Path(__file__).resolve().parents[3] / "docs/operations.md"
_chapter = re.search(r"^## Alerts$\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(encoding="utf-8"), re.M | re.S)
assert _chapter, f"{RUNBOOK} has no chapter Alerts"
INTRODUCTION, *_sections = re.split(r"^### (\S+)$\n", _chapter[1], flags=re.M)
SECTIONS: dict[str, str] = dict(zip(_sections[::2], _sections[1::2], strict=True))
# Ids of the sections' panels. The introduction has 1.
IDS = {alert: number for number, alert in enumerate(SECTIONS, 2)}


def panel_path(alert: str) -> str:
    """The path of the page that shows the alert's section only, relative to Grafana's address."""
    return f"d/runbook?viewPanel={IDS[alert]}"
