"""A prerequisite that was checked: one line of ``make doctor``."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from common.errors import CommandError

GOOD, NOTE, BAD = "good", "note", "BAD"


@dataclass(frozen=True)
class Check:
    """What was checked, its state, what was found, and what to do."""

    what: str
    state: str
    found: str
    help: str = ""


def tried(what: str, attempt: Callable[[], str]) -> Check:
    try:
        return Check(what, GOOD, attempt())
    except CommandError as error:
        return Check(what, BAD, str(error))


def require(checks: Iterable[Check]) -> None:
    """Stops at the first check that is bad.

    Raises:
        CommandError: what was found, and what to do.
    """
    for check in checks:
        if check.state == BAD:
            raise CommandError(f"{check.found}: {check.help}" if check.help else check.found)
