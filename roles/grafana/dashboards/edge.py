"""The edge, and the monitoring itself."""

from .bounds import RULE_GROUPS
from .host import certificate
from .panels import HALF, QUARTER, SIXTH, THIRD, Board, Limits, Query, Word

# What goes to the API; the crowd are clients with many requests under way. See rules/slo.yml.
API = 'job="edge", proxy=~"api|crowd"'
PUBLIC = 'job="edge", proxy="public"'
RESPONSES = "haproxy_backend_http_responses_total"


JOBS = ("api", "edge", "node", "alertmanager", "prometheus", "grafana")
PARTS = ("node", "alertmanager", "prometheus", "grafana")
MONITORING = 'job=~"prometheus|alertmanager|node|grafana"'


def by_class(digit: str) -> Query:
    expr = f'sum(rate(haproxy_frontend_http_responses_total{{{PUBLIC}, code="{digit}xx"}}[$__rate_interval]))'
    return Query(expr, f"{digit}xx")


def error_ratio() -> Query:
    return Query(
        f'sum(rate({RESPONSES}{{{API}, code="5xx"}}[$__rate_interval]))'
        f" / (sum(rate({RESPONSES}{{{API}}}[$__rate_interval])) > 0)",
        "5xx",
    )


def average(part: str, legend: str) -> Query:
    return Query(f"max(haproxy_backend_{part}_time_average_seconds{{{API}}})", legend)


def total(metric: str, labels: str, legend: str) -> Query:
    return Query(f"sum(rate({metric}{{{labels}}}[$__rate_interval]))", legend)


def board() -> Board:
    b = Board("edge", "Edge and monitoring", "HAProxy, through which everything passes, and the monitoring itself.")

    b.row("Edge", "no 5xx, nobody waits, connections far below their limit.")
    b.number(
        "Requests",
        "Requests that came in a second, refused ones included.",
        "reqps",
        total("haproxy_frontend_http_requests_total", PUBLIC, "requests"),
    )
    b.number(
        "Error ratio",
        "Share of the requests to the API that were answered with a 5xx, by it or by the edge in its place.",
        "percentunit",
        error_ratio(),
        Limits(amber=0.001, red=0.01),
        empty=Word("No traffic"),
    )
    b.number(
        "In flight",
        "Requests to the API that wait for their answer or receive it.",
        "short",
        Query(f"sum(haproxy_backend_current_sessions{{{API}}})", "requests"),
    )
    b.number(
        "Waiting",
        "Requests that wait for a place at a replica. After five seconds they are answered with 503.",
        "short",
        Query(f"sum(haproxy_backend_current_queue{{{API}}})", "requests"),
        Limits(amber=1, red=100),
    )
    certificate(b, SIXTH)
    b.number(
        "Memory",
        "Memory in the edge's own pools, nearly all that it has: buffers of requests and replies above all.",
        "bytes",
        Query('haproxy_process_pool_allocated_bytes{job="edge"}', "edge"),
    )
    b.graph(
        "Requests by class",
        "Answers in a second by the first digit of their status.",
        "reqps",
        by_class("2"),
        by_class("3"),
        by_class("4"),
        by_class("5"),
        width=THIRD,
    )
    b.graph(
        "Where the time goes",
        "Averages of the last 1,024 requests: in the queue, until the reply began, until its last byte was sent.",
        "s",
        average("queue", "queue"),
        average("response", "reply begins"),
        average("total", "reply sent"),
        limits=Limits(None, 0.25),
        width=THIRD,
    )
    b.graph(
        "Failures of the edge",
        "In a second: connections that no replica took, requests that were tried again for it, replies broken off.",
        "ops",
        total("haproxy_backend_connection_errors_total", API, "not taken"),
        total("haproxy_backend_retry_warnings_total", API, "tried again"),
        total("haproxy_backend_response_errors_total", API, "broken off"),
        limits=Limits(None, 0.1),
        width=THIRD,
    )
    b.graph(
        "Refused",
        "In a second: requests above a client's or the API's limits, and what is no HTTP or did not arrive in time.",
        "ops",
        total("haproxy_frontend_requests_denied_total", PUBLIC, "above a limit"),
        total("haproxy_frontend_request_errors_total", PUBLIC, "not readable"),
        width=THIRD,
    )
    b.graph(
        "Connections",
        "Open connections, of clients and of the monitoring, and how many there may be.",
        "short",
        Query('haproxy_process_current_connections{job="edge"}', "open"),
        Query('haproxy_process_max_connections{job="edge"}', "limit"),
        width=THIRD,
    )
    b.graph(
        "Replicas",
        "Replicas that answer the edge's checks.",
        "short",
        Query('haproxy_backend_active_servers{job="edge", proxy="api"}', "replicas"),
        width=THIRD,
    )

    b.row("Alerts", "no alert, and no notification that failed.")
    b.alerts("Alerts firing", 'alertname!="Watchdog"', HALF, 8)
    b.graph(
        "Alerts over time",
        "Alerts that wait for their time or fire; one is the watchdog.",
        "none",
        Query("count by (alertstate) (ALERTS)", "{{alertstate}}", ("firing", "pending")),
        width=QUARTER,
    )
    b.graph(
        "Notifications",
        "Notifications that Alertmanager sent in a second, and those that failed.",
        "ops",
        Query("sum(rate(alertmanager_notifications_total[$__rate_interval]))", "sent"),
        Query("sum(rate(alertmanager_notifications_failed_total[$__rate_interval]))", "failed"),
        width=QUARTER,
    )

    b.row("Scrapes", "every target up, answers within a second.")
    b.graph(
        "Targets up",
        "Targets of each job that answer.",
        "none",
        Query("sum by (job) (up)", "{{job}}", JOBS),
        width=THIRD,
    )
    b.graph(
        "Duration of scrapes",
        "Time that a target takes for its metrics. A scrape is given up after 10 s.",
        "s",
        Query("max by (job) (scrape_duration_seconds)", "{{job}}", JOBS),
        limits=Limits(None, 5),
        width=THIRD,
    )
    b.graph(
        "Samples of a scrape",
        "Samples that each job delivers. A scrape with more than 10,000 is refused.",
        "short",
        Query("sum by (job) (scrape_samples_scraped)", "{{job}}", JOBS),
        limits=Limits(None, 10000),
        width=THIRD,
    )

    b.row("Prometheus", "level lines, no failure, the database below its bound.")
    b.graph(
        "Series",
        "Series in memory. Each costs a few kilobytes.",
        "short",
        Query('prometheus_tsdb_head_series{job="prometheus"}', "series"),
        width=THIRD,
    )
    b.graph(
        "Size of the database",
        "Share of the room that the metrics may take on the disk. At 100 % the oldest go.",
        "percentunit",
        Query(
            '(prometheus_tsdb_storage_blocks_bytes{job="prometheus"}'
            ' + prometheus_tsdb_wal_storage_size_bytes{job="prometheus"})'
            ' / (prometheus_tsdb_retention_limit_bytes{job="prometheus"} > 0)',
            "used",
        ),
        top=1,
        width=THIRD,
    )
    b.graph(
        "Rules",
        "Time that the evaluation of each group of rules takes.",
        "s",
        Query(
            "max by (rule_group) (prometheus_rule_group_last_duration_seconds)",
            "{{rule_group}}",
            RULE_GROUPS,
        ),
        width=THIRD,
    )
    b.graph(
        "Failures",
        "What the monitoring failed to do, in a second: rules, notifications, writes.",
        "ops",
        Query("sum(rate(prometheus_rule_evaluation_failures_total[$__rate_interval]))", "rules"),
        Query("sum(rate(prometheus_notifications_dropped_total[$__rate_interval]))", "notifications"),
        Query("sum(rate(prometheus_tsdb_wal_writes_failed_total[$__rate_interval]))", "writes"),
        limits=Limits(None, 0.001),
        width=THIRD,
    )
    b.graph(
        "Memory of the monitoring",
        "Resident memory of each part.",
        "bytes",
        Query(f"process_resident_memory_bytes{{{MONITORING}}}", "{{job}}", PARTS),
        stacked=True,
        width=THIRD,
    )
    b.graph(
        "CPU of the monitoring",
        "Cores that each part uses.",
        "suffix: cores",
        Query(f"rate(process_cpu_seconds_total{{{MONITORING}}}[$__rate_interval])", "{{job}}", PARTS),
        stacked=True,
        width=THIRD,
    )
    return b
