"""The dashboard of the comments API: requests, replies, latency, resources and releases."""

from .bounds import OBJECTIVE
from .panels import FULL, HOST, OR_ZERO, REPLICA, SIXTH, THIRD, Board, Limits, Query, Word, by_replica

ROUTE_NAMES = ("GET /api/comment/list/<path:content_id>", "POST /api/comment/new", "GET /", "GET no route")
REPLICA_NAMES = ("97a4646765d3 .3", "97a4646765d3 .4")
RELEASED = {1: Word("good", "green"), 0: Word("failed", "red")}
NO_TRAFFIC = Word("No traffic")
# The probes of Docker and of the edge would outnumber the users' requests.
PROBES = 'url_rule!~"/healthz|/readyz"'
API = f'job="api", {HOST}'
REPLICAS = f'{API}, replica=~"$replica"'
ROUTES = f'{REPLICAS}, {PROBES}, url_rule=~"$route"'
REQUESTS = f"flask_http_request_duration_seconds_count{{{ROUTES}}}"
ERRORS = f'flask_http_request_duration_seconds_count{{{ROUTES}, status=~"5.."}}'
BUCKETS = f"flask_http_request_duration_seconds_bucket{{{ROUTES}}}"
# For the overview, where a route or a replica cannot be chosen.
ALL_BUCKETS = f"flask_http_request_duration_seconds_bucket{{{API}, {PROBES}}}"
CREATED = f"comments_api_comments_created_total{{{REPLICAS}}}"
VERSIONS = f"count by (host, version) (comments_api_build_info{{{API}}})"


def quantile(share: float, buckets: str, *by: str) -> str:
    labels = ", ".join(("le", "host", *by))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({buckets}[$__rate_interval])))"


def status_class(digit: str) -> Query:
    requests = f'flask_http_request_duration_seconds_count{{{ROUTES}, status=~"{digit}.."}}'
    return Query(f"sum by (host) (rate({requests}[$__rate_interval])) {OR_ZERO}", f"{digit}xx")


def error_ratio() -> str:
    """0 while there is no error, not an empty result."""
    errors, requests = (f"sum by (host) (rate({counted}[$__rate_interval]))" for counted in (ERRORS, REQUESTS))
    return f"({errors} {OR_ZERO}) / ({requests} > 0)"


def counted(counter: str, span: str = "$__range", seconds: str = "$__range_s") -> str:
    """The increase of a counter of the API or of the edge within a span of time that ends now.

    A replica that started within it began at 0. increase() lacks what it had counted by its first scrape.
    """
    started = f'last_over_time(process_start_time_seconds{{job="api", {HOST}}}[{span}])'
    new = f"on (host, instance) ({started} > time() - {seconds})"
    increase = f"increase({counter}[{span}])"
    return f"sum by (host) ((({increase} + min_over_time({counter}[{span}])) and {new}) or {increase})"


def replicas_up(b: Board, link: str = "") -> None:
    b.number(
        "Replicas up",
        "Replicas that answer Prometheus.",
        "none",
        Query(f"sum by (host) (up{{{API}}})", "replicas"),
        Limits(amber=2, red=1),
        empty=Word("None", "red"),
        link=link,
        alerts=("ApiDown",),
    )


def latency_now(b: Board, buckets: str, link: str = "") -> None:
    b.number(
        "Latency, 99 %",
        f"99 % of the requests take at most this long. The objective is {OBJECTIVE * 1000:.0f} ms.",
        "s",
        Query(quantile(0.99, buckets), "99 %"),
        Limits(amber=0.1, red=OBJECTIVE),
        empty=NO_TRAFFIC,
        link=link,
    )


def latency(b: Board, buckets: str, link: str = "") -> None:
    b.graph(
        "Latency",
        "50 %, 95 % and 99 % of the requests take at most this long. The dashed line is the objective.",
        "s",
        *(Query(quantile(share / 100, buckets), f"{share} %") for share in (50, 95, 99)),
        limits=Limits(None, OBJECTIVE),
        link=link,
    )


def last_release(b: Board, height: int = 4, link: str = "") -> None:
    b.number(
        "Last release",
        "The outcome of the last release. If it failed, the one before it is live.",
        "none",
        Query(f"comentarios_release_last_success{{{HOST}}}", "release"),
        words=RELEASED,
        height=height,
        empty=Word("None yet"),
        link=link,
        alerts=("ReleaseFailed",),
    )


def board() -> Board:
    b = Board("api", "API", "The comments API, by its replicas' own metrics.")
    b.choice("route", "Route", f"flask_http_request_duration_seconds_count{{{API}, {PROBES}}}", "url_rule")
    b.choice("replica", "Replica", f"up{{{API}}}", "replica")

    b.row("Now", "two replicas of one version, no errors, 99 % of the requests within 100 ms.")
    replicas_up(b)
    b.number(
        "Version",
        "The replicas' version. There is more than one only during a release.",
        "none",
        Query(VERSIONS, "{{version}}"),
        name_only=True,
    )
    b.number(
        "Requests",
        "Requests per second to all replicas.",
        "reqps",
        Query(f"sum by (host) (rate({REQUESTS}[$__rate_interval]))", "requests"),
    )
    b.number(
        "Error ratio",
        "Share of the requests with a 5xx reply. The objective allows 0.1 %.",
        "percentunit",
        Query(error_ratio(), "5xx"),
        Limits(amber=0.001, red=0.01),
        empty=NO_TRAFFIC,
    )
    latency_now(b, BUCKETS)
    b.number(
        "Comments created",
        "Comments stored within the dashboard's time range.",
        "short",
        Query(counted(CREATED), "comments", now=True),
        decimals=0,
    )

    b.row("Requests", "2xx follow the hour of the day; no 5xx; no requests in flight when idle.")
    b.graph(
        "Requests by route",
        'Requests per second. "no route" are paths without a route.',
        "reqps",
        Query(
            f"sum by (host, method, url_rule) (rate({REQUESTS}[$__rate_interval]))",
            "{{method}} {{url_rule}}",
            ROUTE_NAMES,
        ),
    )
    b.graph(
        "Requests by status",
        "Replies per second, by the first digit of their HTTP status.",
        "reqps",
        *(status_class(digit) for digit in "2345"),
    )
    b.graph(
        "Error ratio over time",
        "Share of the requests with a 5xx reply. The dashed line is the objective, 0.1 %.",
        "percentunit",
        Query(error_ratio(), "5xx"),
        limits=Limits(None, 0.001),
    )
    b.graph(
        "Requests in flight",
        "Requests in progress, by replica. A replica whose line only rises hangs.",
        "short",
        Query(by_replica(f"comments_api_requests_in_flight{{{REPLICAS}}}"), REPLICA, REPLICA_NAMES),
    )

    b.row("Latency", "every line is far below the dashed one; the database takes less than 10 ms.")
    latency(b, BUCKETS)
    b.graph(
        "Latency by route, 95 %",
        "95 % of a route's requests take at most this long.",
        "s",
        Query(quantile(0.95, BUCKETS, "method", "url_rule"), "{{method}} {{url_rule}}", ROUTE_NAMES),
        limits=Limits(None, OBJECTIVE),
    )
    b.graph(
        "Storage latency, 95 %",
        "95 % of the database's operations take at most this long. If only inserts are slow, the disk is slow.",
        "s",
        Query(
            quantile(0.95, f"comments_api_storage_duration_seconds_bucket{{{REPLICAS}}}", "operation"),
            "{{operation}}",
            ("insert", "list", "ping"),
        ),
    )
    b.graph(
        "Comments created over time",
        "Comments stored per second.",
        "ops",
        Query(f"sum by (host) (rate({CREATED}[$__rate_interval]))", "created"),
    )

    b.row("Resources", "constant lines; memory below 90 % of its limit; no restarts except by a release.")
    b.graph(
        "CPU by replica",
        "CPU cores in use. A replica runs on one core.",
        "suffix: cores",
        Query(by_replica(f"rate(process_cpu_seconds_total{{{REPLICAS}}}[$__rate_interval])"), REPLICA, REPLICA_NAMES),
        width=THIRD,
    )
    b.graph(
        "Memory by replica",
        "Resident memory. If a line keeps rising, memory leaks.",
        "bytes",
        Query(by_replica(f"process_resident_memory_bytes{{{REPLICAS}}}"), REPLICA, REPLICA_NAMES),
        width=THIRD,
    )
    b.graph(
        "Database size",
        "Size of the database, which all replicas share.",
        "bytes",
        Query(f"max by (host) (comments_api_database_size_bytes{{{API}}})", "database"),
        width=THIRD,
    )
    b.graph(
        "Memory, share of the limit",
        "Share of each service's memory limit that it uses. At 100 %, the kernel kills it.",
        "percentunit",
        Query(
            f"max by (host, service) (service:memory:ratio{{{HOST}}})",
            "{{service}}",
            ("api", "edge", "prometheus", "alertmanager", "grafana"),
        ),
        limits=Limits.of("MemoryNearLimit"),
        top=1,
    )
    b.graph(
        "Restarts",
        "Restarts of each service's containers within 15 minutes.",
        "none",
        Query(
            f"max by (host, service) (changes(comentarios_container_start_time_seconds{{{HOST}}}[15m]))",
            "{{service}}",
            ("api", "edge", "prometheus", "alertmanager", "node-exporter", "grafana"),
        ),
        limits=Limits.of("ContainerRestarting"),
    )

    b.row("Releases", "the last release is good, and one version is live.")
    last_release(b, height=8)
    b.graph(
        "Live versions",
        "Replicas of each version. During a release, two versions overlap.",
        "none",
        Query(VERSIONS, "{{version}}", ("97a4646765d3", "c4d1a0b7e2f5")),
        width=FULL - SIXTH,
        stacked=True,
        alerts=("VersionsMixed",),
    )
    return b
