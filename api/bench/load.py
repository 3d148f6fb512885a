"""Load by wrk, Debian's package: one thread, on a core of its own."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import debian

LUA = Path(__file__).resolve().parent / "post.lua"
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class LoadError(Exception):
    """The load could not be made, or what came back was no success."""


@dataclass(frozen=True)
class Measured:
    """requests_per_second; p50 and p99 in milliseconds; requests: how many were answered."""

    requests_per_second: float
    p50: float
    p99: float
    requests: int


def ensure_wrk() -> None:
    """Install wrk when root on Debian or Ubuntu. Raises `LoadError` that says what to install elsewhere."""
    if shutil.which("wrk"):
        return
    try:
        debian.install("wrk")
    except debian.CommandError as error:
        raise LoadError(f"wrk is missing: {error}") from None


def wrk(
    url: str, seconds: float, connections: int, cores: set[int] | None, post: bool, headers: tuple[str, ...] = ()
) -> Measured:
    """Ask `url` for `seconds` over `connections` kept open, with `headers`; with `post`, send comments there.

    Raises `LoadError` when a reply is not a success or a connection fails.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url]
    if post:
        command[1:1] = ["-s", str(LUA)]
    for header in headers:
        command[1:1] = ["-H", header]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
    )
    if done.returncode:
        raise LoadError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout)
    # A server without keep-alive ends each connection, which wrk may count as a read error; the rest may not be.
    if broken and not any(int(broken[group]) for group in (1, 3, 4)):
        broken = None
    if fault := bad or broken:
        raise LoadError(f"{url} did not answer every request: {fault[0]}")
    return Measured(
        float(_found(r"Requests/sec:\s+([\d.]+)", done.stdout)[1]),
        _milliseconds(done.stdout, "50%"),
        _milliseconds(done.stdout, "99%"),
        int(_found(r"(\d+) requests in", done.stdout)[1]),
    )


def _milliseconds(text: str, percentile: str) -> float:
    match = _found(rf"^\s+{percentile}\s+([\d.]+)(us|ms|s|m)$", text)
    return float(match[1]) * UNITS[match[2]]


def _found(pattern: str, text: str) -> re.Match[str]:
    match = re.search(pattern, text, re.MULTILINE)
    if not match:
        raise LoadError(f"wrk printed something unknown: {text.strip()}")
    return match
