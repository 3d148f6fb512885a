"""The comments API: what it is asked, how it answers, what it needs."""

from .parts import FULL, SIXTH, THIRD, Board, Limits, Q

# The probes of Docker and of the edge are no requests of users; every five seconds they would outnumber them.
PROBES = 'url_rule!~"/healthz|/readyz"'
ROUTES = f'job="api", {PROBES}, url_rule=~"$route"'
REQUESTS = f"flask_http_request_duration_seconds_count{{{ROUTES}}}"
ERRORS = f'flask_http_request_duration_seconds_count{{{ROUTES}, status=~"5.."}}'
BUCKETS = f"flask_http_request_duration_seconds_bucket{{{ROUTES}}}"


def quantile(share: float, buckets: str, *by: str) -> str:
    labels = ", ".join(("le", *by))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({buckets}[$__rate_interval])))"


def error_ratio() -> str:
    """0 and not nothing while there is no error."""
    return f"(sum(rate({ERRORS}[$__rate_interval])) or vector(0)) / (sum(rate({REQUESTS}[$__rate_interval])) > 0)"


def board() -> Board:
    b = Board("api", "API", "The comments API, from its replicas' own metrics.")
    b.choice("route", "Route", f'flask_http_request_duration_seconds_count{{job="api", {PROBES}}}', "url_rule")
    b.events("Releases", "comentarios_release_timestamp_seconds", "Release {{version}}")

    b.row("Now")
    b.number(
        "Replicas up",
        "Replicas that answer their scrape.",
        "none",
        Q('sum(up{job="api"})', "replicas"),
        Limits(amber=2, red=1),
    )
    b.number(
        "Version",
        "The version of each replica; more than one only during a release.",
        "none",
        Q('count by (version) (comments_api_build_info{job="api"})', "{{version}}"),
        name_only=True,
    )
    b.number(
        "Requests",
        "Requests answered in a second, over all replicas.",
        "reqps",
        Q(f"sum(rate({REQUESTS}[$__rate_interval]))", "requests"),
    )
    b.number(
        "Error ratio",
        "Share of the requests that were answered with a 5xx. The objective allows 0.1 %.",
        "percentunit",
        Q(error_ratio(), "5xx"),
        Limits(amber=0.001, red=0.01),
    )
    b.number(
        "Latency, 99 %",
        "99 % of the requests are answered within this time. The objective is 250 ms.",
        "s",
        Q(quantile(0.99, BUCKETS), "99 %"),
        Limits(amber=0.1, red=0.25),
    )
    b.number(
        "Comments created",
        "Comments stored within the time range shown.",
        "short",
        Q('sum(increase(comments_api_comments_created_total{job="api"}[$__range]))', "comments"),
    )

    b.row("Requests")
    b.graph(
        "Requests by route",
        'Requests answered in a second. Paths that no route has count as "None".',
        "reqps",
        Q(f"sum by (method, url_rule) (rate({REQUESTS}[$__rate_interval]))", "{{method}} {{url_rule}}"),
    )
    b.graph(
        "Requests by status",
        "Answers in a second by HTTP status.",
        "reqps",
        Q(f"sum by (status) (rate({REQUESTS}[$__rate_interval]))", "{{status}}"),
    )
    b.graph(
        "Error ratio over time",
        "Share of the requests that were answered with a 5xx; the line is the objective's 0.1 %.",
        "percentunit",
        Q(error_ratio(), "5xx"),
        limits=Limits(None, 0.001),
    )
    b.graph(
        "Requests in flight",
        "Requests being answered, by replica. A line that only rises is a replica that hangs.",
        "short",
        Q('sum by (instance) (comments_api_requests_in_flight{job="api"})', "{{instance}}"),
    )

    b.row("Latency")
    b.graph(
        "Latency",
        "Half, 95 % and 99 % of the requests are answered within these times; the line is the objective's 250 ms.",
        "s",
        Q(quantile(0.5, BUCKETS), "50 %"),
        Q(quantile(0.95, BUCKETS), "95 %"),
        Q(quantile(0.99, BUCKETS), "99 %"),
        limits=Limits(None, 0.25),
    )
    b.graph(
        "Latency by route, 95 %",
        "95 % of a route's requests are answered within this time.",
        "s",
        Q(quantile(0.95, BUCKETS, "method", "url_rule"), "{{method}} {{url_rule}}"),
        limits=Limits(None, 0.25),
    )
    b.graph(
        "Storage latency, 95 %",
        "95 % of the database's operations take no longer than this. Slow inserts alone: the disk.",
        "s",
        Q(quantile(0.95, 'comments_api_storage_duration_seconds_bucket{job="api"}', "operation"), "{{operation}}"),
    )
    b.graph(
        "Comments created over time",
        "Comments stored in a second.",
        "ops",
        Q('sum(rate(comments_api_comments_created_total{job="api"}[$__rate_interval]))', "created"),
    )

    b.row("Resources")
    b.graph(
        "CPU by replica",
        "Cores in use. One replica cannot use much more than one.",
        "suffix: cores",
        Q('rate(process_cpu_seconds_total{job="api"}[$__rate_interval])', "{{instance}}"),
        width=THIRD,
    )
    b.graph(
        "Memory by replica",
        "Resident memory. A line that rises from release to release is a leak.",
        "bytes",
        Q('process_resident_memory_bytes{job="api"}', "{{instance}}"),
        width=THIRD,
    )
    b.graph(
        "Database size",
        "Room that the database takes; the replicas share one database.",
        "bytes",
        Q('max(comments_api_database_size_bytes{job="api"})', "database"),
        width=THIRD,
    )

    b.row("Releases")
    b.number(
        "Last release",
        "1 when the last release ended well, 0 when it failed and the one before it is serving.",
        "none",
        Q("comentarios_release_last_success", "succeeded"),
        Limits(amber=1, red=0.5),
        height=8,
    )
    b.graph(
        "Version serving",
        "Replicas of each version. During a release two versions overlap.",
        "none",
        Q('count by (version) (comments_api_build_info{job="api"})', "{{version}}"),
        width=FULL - SIXTH,
        stacked=True,
    )
    return b
