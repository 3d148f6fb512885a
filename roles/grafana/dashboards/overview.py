"""The first page: is it well, since when, what changed. Every panel leads to the dashboard that says more."""

from . import api, edge, host
from .panels import HALF, THIRD, Board, Limits, Query, Word


def board() -> Board:
    b = Board("overview", "Overview", "Is it well, since when, and what changed.")
    b.row("Now", "everything green. Click a panel's arrow for the dashboard that says more.")
    b.alerts("Alerts firing", 'alertname!="Watchdog"', THIRD, link="edge")
    for slo in ("availability", "latency"):
        b.number(
            f"{slo.capitalize()} budget left",
            "What is left of the budget of 30 days.",
            "percentunit",
            Query(f'slo:budget_left:ratio30d{{slo="{slo}"}}', "left"),
            Limits(amber=0.5, red=0.1),
            decimals=1,
            link="slo",
        )
    b.number(
        "Error ratio",
        "Share of the requests to the API that were answered with a 5xx.",
        "percentunit",
        edge.error_ratio(),
        Limits(amber=0.001, red=0.01),
        empty=api.NO_TRAFFIC,
        link="edge",
    )
    b.number(
        "Latency, 99 %",
        "99 % of the requests are answered within this time. The objective is 250 ms.",
        "s",
        Query(api.quantile(0.99, api.ALL_BUCKETS), "99 %"),
        Limits(amber=0.1, red=0.25),
        empty=api.NO_TRAFFIC,
        link="api",
    )
    b.number(
        "Replicas up",
        "Replicas that answer their scrape.",
        "none",
        Query('sum(up{job="api"})', "replicas"),
        Limits(amber=2, red=1),
        empty=Word("None", "red"),
        link="api",
    )
    b.number(
        "Last release",
        "How the last release ended. When it failed, the one before it is serving.",
        "none",
        Query("comentarios_release_last_success", "release"),
        words=api.RELEASED,
        empty=Word("None yet"),
        link="api",
    )
    b.number(
        "Newest backup",
        "Age of the newest backup. One is made every 15 minutes.",
        "s",
        Query("time() - comentarios_backup_last_success_timestamp_seconds", "age"),
        Limits.of("BackupTooOld", 1800),
        empty=Word("None yet", "orange"),
        link="host",
    )
    b.number(
        "CPU",
        "Share of the time that the CPUs are busy.",
        "percentunit",
        Query(f'1 - avg(rate(node_cpu_seconds_total{{{host.NODE}, mode="idle"}}[$__rate_interval]))', "busy"),
        Limits(amber=0.7, red=0.9),
        link="host",
    )
    b.number(
        "Memory available",
        "Memory that programs can still get, of all.",
        "percentunit",
        Query("node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", "available"),
        Limits.of("MemoryLow", 0.2),
        link="host",
    )
    b.number(
        "Fullest disk",
        "Room left on the file system that has least of it.",
        "percentunit",
        Query("min(node_filesystem_avail_bytes / node_filesystem_size_bytes)", "left"),
        Limits.of("DiskFull", 0.2),
        link="host",
    )
    b.graph(
        "Requests",
        "Answers in a second by the first digit of their status.",
        "reqps",
        *(edge.by_class(digit) for digit in "2345"),
        width=HALF,
        link="edge",
    )
    b.graph(
        "Latency",
        "Half, 95 % and 99 % of the requests are answered within these times; the line is the objective's 250 ms.",
        "s",
        *(Query(api.quantile(share / 100, api.ALL_BUCKETS), f"{share} %") for share in (50, 95, 99)),
        limits=Limits(None, 0.25),
        width=HALF,
        link="api",
    )
    return b
