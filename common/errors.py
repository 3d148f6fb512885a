"""The one error that people see, and what goes into it."""

import difflib
from collections.abc import Iterable


class CommandError(Exception):
    """What went wrong and what to do, in one line. The command prints it and exits with status 1."""


def last_line(output: str, otherwise: str = "no output") -> str:
    """The line of a failed program's output that says why."""
    return (output.strip().splitlines() or [otherwise])[-1].strip()


def near(name: object, known: Iterable[str]) -> str:
    """The known name that a misspelt one probably means, as a question; empty: none is similar."""
    found = difflib.get_close_matches(str(name), known, 1, 0.6)
    return f"did you mean {found[0]}?" if found else ""
