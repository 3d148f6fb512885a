"""The dashboard of the edge, and of the monitoring itself."""

from .bounds import OBJECTIVE
from .host import certificate
from .panels import HALF, HOST, QUARTER, SIXTH, THIRD, Board, Limits, Query, Word

# Requests to the API; the crowd are clients with many concurrent requests. See rules/slo.yml.
EDGE = f'job="edge", {HOST}'
API = f'{EDGE}, proxy=~"api|crowd"'
PUBLIC = f'{EDGE}, proxy="public"'
RESPONSES = "haproxy_backend_http_responses_total"
JOBS = ("api", "edge", "node", "alertmanager", "prometheus", "grafana")
PROMETHEUS = f'job="prometheus", {HOST}'


def error_ratio() -> Query:
    return Query(
        f'sum by (host) (rate({RESPONSES}{{{API}, code="5xx"}}[$__rate_interval]))'
        f" / (sum by (host) (rate({RESPONSES}{{{API}}}[$__rate_interval])) > 0)",
        "5xx",
    )


def average(part: str, legend: str) -> Query:
    return Query(f"max by (host) (haproxy_backend_{part}_time_average_seconds{{{API}}})", legend)


def total(metric: str, labels: str, legend: str) -> Query:
    return Query(f"sum by (host) (rate({metric}{{{labels}}}[$__rate_interval]))", legend)


def errors_now(b: Board, link: str = "") -> None:
    b.number(
        "Error ratio",
        "Share of the requests to the API with a 5xx reply, by the API or by the edge.",
        "percentunit",
        error_ratio(),
        Limits(amber=0.001, red=0.01),
        empty=Word("No traffic"),
        link=link,
    )


def requests(b: Board, title: str, width: int, link: str = "") -> None:
    b.graph(
        title,
        "Replies per second, by the first digit of their HTTP status.",
        "reqps",
        *(
            total("haproxy_frontend_http_responses_total", f'{PUBLIC}, code="{digit}xx"', f"{digit}xx")
            for digit in "2345"
        ),
        width=width,
        link=link,
    )


def board() -> Board:
    b = Board("edge", "Edge and monitoring", "HAProxy, which all requests pass, and the monitoring itself.")

    b.row("Edge", "no 5xx, no waiting requests, connections far below their limit.")
    b.number(
        "Requests",
        "Incoming requests per second, refused ones included.",
        "reqps",
        total("haproxy_frontend_http_requests_total", PUBLIC, "requests"),
    )
    errors_now(b)
    b.number(
        "In flight",
        "Requests to the API that wait for their reply or receive it.",
        "short",
        Query(f"sum by (host) (haproxy_backend_current_sessions{{{API}}})", "requests"),
    )
    b.number(
        "Waiting",
        "Requests in the queue for a replica. After five seconds, they get 503.",
        "short",
        Query(f"sum by (host) (haproxy_backend_current_queue{{{API}}})", "requests"),
        Limits(amber=1, red=100),
    )
    certificate(b, SIXTH)
    b.number(
        "Memory",
        "Memory in HAProxy's pools, nearly all that it uses: mostly buffers of requests and replies.",
        "bytes",
        Query(f"haproxy_process_pool_allocated_bytes{{{EDGE}}}", "edge"),
    )
    requests(b, "Requests by class", THIRD)
    b.graph(
        "Where the time goes",
        "Averages of the last 1,024 requests: time in the queue, to the first byte of the reply, and to its last byte.",
        "s",
        average("queue", "queue"),
        average("response", "reply begins"),
        average("total", "reply sent"),
        limits=Limits(None, OBJECTIVE),
        width=THIRD,
    )
    b.graph(
        "Failures of the edge",
        "Per second: connections that no replica accepted, retries because of that, incomplete replies.",
        "ops",
        total("haproxy_backend_connection_errors_total", API, "not accepted"),
        total("haproxy_backend_retry_warnings_total", API, "retried"),
        total("haproxy_backend_response_errors_total", API, "incomplete"),
        limits=Limits(None, 0.1),
        width=THIRD,
    )
    b.graph(
        "Refused",
        "Per second: requests above a limit of a client or of the API, and requests that are invalid or incomplete.",
        "ops",
        total("haproxy_frontend_requests_denied_total", PUBLIC, "above a limit"),
        total("haproxy_frontend_request_errors_total", PUBLIC, "invalid"),
        width=THIRD,
    )
    b.graph(
        "Connections",
        "Open connections of clients and of the monitoring, and their limit.",
        "short",
        Query(f"haproxy_process_current_connections{{{EDGE}}}", "open"),
        Query(f"haproxy_process_max_connections{{{EDGE}}}", "limit"),
        alerts=("EdgeFull",),
        width=THIRD,
    )
    b.graph(
        "Replicas",
        "Replicas that pass the edge's health checks.",
        "short",
        Query(f'haproxy_backend_active_servers{{{EDGE}, proxy="api"}}', "replicas"),
        width=THIRD,
    )

    b.row("Alerts", "no alert, and no failed notification.")
    b.firing("Alerts firing", 'alertname!="Watchdog"', HALF, 8)
    b.graph(
        "Alerts over time",
        "Alerts that are pending or fire. The watchdog always fires.",
        "none",
        Query(f"count by (host, alertstate) (ALERTS{{{HOST}}})", "{{alertstate}}", ("firing", "pending")),
        width=QUARTER,
        alerts=("Watchdog",),
    )
    b.graph(
        "Notifications",
        "Notifications per second that Alertmanager sent, and those that failed.",
        "ops",
        total("alertmanager_notifications_total", HOST, "sent"),
        total("alertmanager_notifications_failed_total", HOST, "failed"),
        width=QUARTER,
        alerts=("NotificationsFailing",),
    )

    b.row("Scrapes", "every target is up and answers within a second.")
    b.graph(
        "Targets up",
        "Targets that answer, by job.",
        "none",
        Query(f"sum by (host, job) (up{{{HOST}}})", "{{job}}", JOBS),
        alerts=("EdgeDown", "HostDown", "TargetDown", "TargetAbsent"),
    )
    b.graph(
        "Duration of scrapes",
        "Time that a target takes for its metrics. A scrape times out after 10 s.",
        "s",
        Query(f"max by (host, job) (scrape_duration_seconds{{{HOST}}})", "{{job}}", JOBS),
        limits=Limits(None, 5),
    )

    b.row("Prometheus", "constant lines, no failures, the database below its limit.")
    b.graph(
        "Size of the database",
        "Share of the space that the metrics may use. At 100 %, the oldest are deleted.",
        "percentunit",
        Query(
            f"(prometheus_tsdb_storage_blocks_bytes{{{PROMETHEUS}}}"
            f" + prometheus_tsdb_wal_storage_size_bytes{{{PROMETHEUS}}})"
            f" / (prometheus_tsdb_retention_limit_bytes{{{PROMETHEUS}}} > 0)",
            "used",
        ),
        top=1,
    )
    b.graph(
        "Failures",
        "Failed rule evaluations, notifications and writes per second.",
        "ops",
        total("prometheus_rule_evaluation_failures_total", HOST, "rules"),
        total("prometheus_notifications_dropped_total", HOST, "notifications"),
        total("prometheus_tsdb_wal_writes_failed_total", HOST, "writes"),
        limits=Limits(None, 0.001),
        alerts=("RuleEvaluationFailing", "PrometheusStorageFailing"),
    )
    b.number(
        "Configuration",
        "Whether Prometheus and Alertmanager use the configuration on the host, or an older one.",
        "none",
        Query(
            '{__name__=~"prometheus_config_last_reload_successful|alertmanager_config_last_reload_successful",'
            f" {HOST}}}",
            "{{job}}",
        ),
        words={1: Word("loaded", "green"), 0: Word("refused", "red")},
        width=HALF,
        height=8,
        alerts=("PrometheusConfigReloadFailed", "AlertmanagerConfigReloadFailed"),
    )
    b.graph(
        "File descriptors",
        "Share of each process' file descriptors that is open.",
        "percentunit",
        Query(
            f"max by (host, job) (process_open_fds{{{HOST}}} / process_max_fds{{{HOST}}})",
            "{{job}}",
            tuple(job for job in JOBS if job != "edge"),
        ),
        limits=Limits.of("FileDescriptorsLow"),
    )
    return b
