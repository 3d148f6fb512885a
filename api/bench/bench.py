#!/usr/bin/env python3
"""Requests per second of the API, of the original and of bare Flask, side by side.

`.venv/bin/python api/bench/bench.py`: each server is one process on core 0, the load comes from core 1 over 16
connections; the rounds are interleaved, so that whatever else the machine does falls on all alike, and the table
shows medians. Exit status 1 when something cannot run; no figure fails it.
"""

import argparse
import os
import statistics
import sys
import tempfile
from datetime import date
from pathlib import Path

import servers
from load import LoadError, Measured, ensure_wrk, wrk

LIST_PATH = "/api/comment/list/twenty"
NOT_MODIFIED = "GET 20, 304"

# (server, workload): one of each round.
Results = dict[tuple[str, str], list[Measured]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="kept open (default: %(default)s)")
    parser.add_argument("--only", help="measure only the rows whose name holds this text")
    options = parser.parse_args()
    if (os.cpu_count() or 1) < 2:
        sys.exit("bench: this machine has one core; the server and the load need one each")
    try:
        ensure_wrk()
        # On disk, where a sync costs what it costs; /tmp may be memory.
        with tempfile.TemporaryDirectory(prefix="comentarios-bench-", dir="/var/tmp") as folder:
            results = measure(Path(folder), options)
    except (LoadError, RuntimeError) as error:
        sys.exit(f"bench: {error}")
    print_table(results, options)


def measure(folder: Path, options: argparse.Namespace) -> Results:
    """Every server under each of its workloads."""
    core = {"cores": {0}}
    running = {
        "API, Granian": servers.api(f"sqlite:///{folder}/granian.db", **core),
        "API, gunicorn": servers.api_gunicorn(f"sqlite:///{folder}/gunicorn.db", **core),
        "original, gunicorn": servers.original(**core),
        "bare Flask, Granian": servers.bare_granian(**core),
        "bare Flask, gunicorn": servers.bare_gunicorn(**core),
    }
    try:
        work: dict[tuple[str, str], tuple[str, bool, tuple[str, ...]]] = {}
        for name, server in running.items():
            if name.startswith("bare"):
                work[name, "fixed reply"] = (server.url + "/", False, ())
                continue
            for number in range(20):
                body = {
                    "email": "alice@example.com",
                    "comment": f"Comment {number}, of an ordinary length for a comment.",
                    "content_id": "twenty",
                }
                code, reply = servers.post(server.url, body)
                if code != 200 or reply["status"] != "SUCCESS":
                    raise RuntimeError(f"{name} answered {code}: {reply}")
            work[name, "POST"] = (server.url, True, ())
            work[name, "GET 20"] = (server.url + LIST_PATH, False, ())
            if name.startswith("API"):
                header = f"If-None-Match: {servers.tag(server.url + LIST_PATH)}"
                work[name, NOT_MODIFIED] = (server.url + LIST_PATH, False, (header,))
        results: Results = {key: [] for key in work if not options.only or options.only in " ".join(key)}
        for number in range(options.rounds + 1):
            for key, measured in results.items():
                url, post, headers = work[key]
                # The first round only warms up.
                seconds = options.seconds if number else 1
                found = wrk(url, seconds, options.connections, {1}, post, headers)
                if number:
                    measured.append(found)
            print(f"round {number} of {options.rounds} done", file=sys.stderr)
        return results
    finally:
        for server in running.values():
            server.stop()


def print_table(results: Results, options: argparse.Namespace) -> None:
    """Markdown, on standard output."""

    def median(key: tuple[str, str], what: str) -> float | None:
        return statistics.median(getattr(m, what) for m in results[key]) if key in results else None

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(
        f"{date.today()}, {os.cpu_count()} cores, {memory:.0f} GiB; one server process on core 0, load on core 1, "
        f"{options.connections} connections, median of {options.rounds} rounds of {options.seconds} s.\n"
    )
    print("| server | workload | requests/s | p50 ms | p99 ms | × original | × bare Flask, same server |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for name, workload in results:
        rate = median((name, workload), "requests_per_second")
        original = median(("original, gunicorn", workload), "requests_per_second")
        bare = median((f"bare Flask, {name.split(', ')[1]}", "fixed reply"), "requests_per_second")
        ratios = [f"{rate / other:.2f}" if rate and other else "" for other in (original, bare)]
        latency = [f"{median((name, workload), what):.1f}" for what in ("p50", "p99")]
        print(f"| {' | '.join([name, workload, f'{rate:,.0f}', *latency, *ratios])} |")
    for name in dict.fromkeys(name for name, workload in results if workload == NOT_MODIFIED):
        rate, whole = (median((name, workload), "requests_per_second") for workload in (NOT_MODIFIED, "GET 20"))
        if rate and whole:
            print(f"\n{name}: with If-None-Match {rate / whole:.2f} × the rate of GET 20 (goal: ≥ 1.5).")


if __name__ == "__main__":
    main()
