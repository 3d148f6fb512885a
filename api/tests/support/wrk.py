"""Load by wrk, and the parser of its output with `--latency`."""

import re
from typing import NamedTuple

UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class Measured(NamedTuple):
    """Requests a second, milliseconds within which half and 99 % of them were answered, and how many there were."""

    rate: float
    p50: float
    p99: float
    requests: float


def read(printed: str) -> Measured:
    """Raises `AssertionError` if a reply was no success, or a connection failed."""
    assert "Non-2xx" not in printed, printed
    # A server without keep-alive ends each connection, which wrk may count as an error of reading.
    assert not re.search(r"Socket errors: (?!connect 0, read \d+, write 0, timeout 0$)", printed, re.MULTILINE), printed
    return Measured(
        float(_found(r"Requests/sec:\s+([\d.]+)", printed)[1]),
        _milliseconds(printed, "50%"),
        _milliseconds(printed, "99%"),
        float(_found(r"(\d+) requests in", printed)[1]),
    )


def _milliseconds(printed: str, percentile: str) -> float:
    found = _found(rf"^\s+{percentile}\s+([\d.]+)(us|ms|s|m)$", printed)
    return float(found[1]) * UNITS[found[2]]


def _found(pattern: str, printed: str) -> re.Match[str]:
    found = re.search(pattern, printed, re.MULTILINE)
    assert found, printed
    return found
