"""The runbook as a dashboard: the chapter Alerts of docs/operations.md, one panel per section."""

import math
import re

from .panels import Board
from .sections import INTRODUCTION, SECTIONS, panel_path

# Letters per line, and lines per row of Grafana's grid, in a window of 1280 pixels.
LETTERS, LINES = 150, 1.8


def linked(text: str) -> str:
    """The text, with links to alerts' sections replaced by links to their panels, and other links by their text."""
    alerts = {name.lower(): name for name in SECTIONS}

    def link(found: re.Match[str]) -> str:
        words, anchor = found.groups()
        return f"[{words}]({panel_path(alerts[anchor])})" if anchor in alerts else words

    return re.sub(r"\[([^]]+)\]\(#?([^)]+)\)", link, text.strip())


def rows(text: str) -> int:
    """How many rows of the grid the text needs."""
    lines = sum(math.ceil(len(part) / LETTERS) + 1 for part in text.split("\n\n"))
    return math.ceil(lines / LINES) + 2


def board() -> Board:
    b = Board("runbook", "Runbook", "What each alert means, where to look first, and what to do.", queried=False)
    for title, text in (("Alerts", INTRODUCTION), *SECTIONS.items()):
        content = linked(text)
        b.text(title, content, rows(content))
    return b
