"""A prerequisite that was checked: one line of ``make doctor``."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from common.errors import CommandError

GOOD, NOTE, BAD = "good", "note", "BAD"


@dataclass(frozen=True)
class Row:
    """What was checked, how it is, what was found, and what to do about it."""

    what: str
    state: str
    found: str
    help: str = ""


def tried(what: str, attempt: Callable[[], str]) -> Row:
    try:
        return Row(what, GOOD, attempt())
    except CommandError as error:
        return Row(what, BAD, str(error))


def require(rows: Iterable[Row]) -> None:
    """Stops at the first row that is bad.

    Raises:
        CommandError: what was found, and what to do.
    """
    for row in rows:
        if row.state == BAD:
            raise CommandError(f"{row.found}: {row.help}" if row.help else row.found)
