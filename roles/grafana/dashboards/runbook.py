"""What to do about each alert, where the graphs are: a chapter of docs/operations.md, a panel for each section."""

import math
import re

from .panels import Board
from .sections import INTRODUCTION, SECTIONS, address

# Letters of a line, and lines of a row of Grafana's grid, on a window of 1280 pixels.
LETTERS, LINES = 150, 1.8


def linked(text: str) -> str:
    """The text with its links to alerts' sections as links to their panels; of others the words are left."""
    alerts = {name.lower(): name for name in SECTIONS}

    def link(found: re.Match[str]) -> str:
        words, anchor = found.groups()
        return f"[{words}]({address(alerts[anchor])})" if anchor in alerts else words

    return re.sub(r"\[([^]]+)\]\(#?([^)]+)\)", link, text.strip())


def rows(text: str) -> int:
    """How many of the grid's rows the text needs."""
    lines = sum(math.ceil(len(part) / LETTERS) + 1 for part in text.split("\n\n"))
    return math.ceil(lines / LINES) + 2


def board() -> Board:
    b = Board("runbook", "Runbook", "What each alert means, where to look first, and what to do.", queried=False)
    for title, text in (("Alerts", INTRODUCTION), *SECTIONS.items()):
        content = linked(text)
        b.text(title, content, rows(content))
    return b
