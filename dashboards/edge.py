"""The edge, and the monitoring itself."""

from .parts import QUARTER, THIRD, Board, Limits, Q

# What goes to the API; the crowd are clients with many requests under way. See rules/slo.yml.
API = 'job="edge", proxy=~"api|crowd"'
PUBLIC = 'job="edge", proxy="public"'
RESPONSES = "haproxy_backend_http_responses_total"


def by_class(digit: str) -> Q:
    expr = f'sum(rate(haproxy_frontend_http_responses_total{{{PUBLIC}, code="{digit}xx"}}[$__rate_interval]))'
    return Q(expr, f"{digit}xx")


def average(part: str, legend: str) -> Q:
    return Q(f"max(haproxy_backend_{part}_time_average_seconds{{{API}}})", legend)


def total(metric: str, labels: str, legend: str) -> Q:
    return Q(f"sum(rate({metric}{{{labels}}}[$__rate_interval]))", legend)


def board() -> Board:
    b = Board("edge", "Edge and monitoring", "HAProxy, through which everything passes, and the monitoring itself.")

    b.row("Edge")
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
        Q(
            f'sum(rate({RESPONSES}{{{API}, code="5xx"}}[$__rate_interval]))'
            f" / (sum(rate({RESPONSES}{{{API}}}[$__rate_interval])) > 0)",
            "5xx",
        ),
        Limits(amber=0.001, red=0.01),
    )
    b.number(
        "In flight",
        "Requests to the API that wait for their answer or receive it.",
        "short",
        Q(f"sum(haproxy_backend_current_sessions{{{API}}})", "requests"),
    )
    b.number(
        "Waiting",
        "Requests that wait for a place at a replica. After five seconds they are answered with 503.",
        "short",
        Q(f"sum(haproxy_backend_current_queue{{{API}}})", "requests"),
        Limits(amber=1, red=100),
    )
    b.number(
        "Certificate",
        "Time until the certificate expires. certbot renews it 30 days before.",
        "s",
        Q("comentarios_certificate_expiry_timestamp_seconds - time()", "{{domain}}"),
        Limits(amber=28 * 86400, red=14 * 86400),
        empty="No domain",
    )
    b.number(
        "Memory",
        "Memory in the edge's own pools, nearly all that it has: buffers of requests and replies above all.",
        "bytes",
        Q('haproxy_process_pool_allocated_bytes{job="edge"}', "edge"),
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
        Q('haproxy_process_current_connections{job="edge"}', "open"),
        Q('haproxy_process_max_connections{job="edge"}', "limit"),
        width=THIRD,
    )
    b.graph(
        "Replicas",
        "Replicas that answer the edge's checks.",
        "short",
        Q('haproxy_backend_active_servers{job="edge", proxy="api"}', "replicas"),
        width=THIRD,
    )

    b.row("Alerts")
    b.table(
        "Alerts firing",
        "What is wrong now. The watchdog, which always fires, is left out.",
        "none",
        Q('ALERTS{alertstate="firing", alertname!="Watchdog"}', "{{alertname}}"),
        hidden=["Time", "Value", "__name__", "alertstate"],
        empty="None",
    )
    b.graph(
        "Alerts over time",
        "Alerts that wait for their time or fire; one is the watchdog.",
        "none",
        Q("count by (alertstate) (ALERTS)", "{{alertstate}}"),
        width=QUARTER,
    )
    b.graph(
        "Notifications",
        "Notifications that Alertmanager sent in a second, and those that failed.",
        "ops",
        Q("sum(rate(alertmanager_notifications_total[$__rate_interval]))", "sent"),
        Q("sum(rate(alertmanager_notifications_failed_total[$__rate_interval]))", "failed"),
        width=QUARTER,
    )

    b.row("Scrapes")
    b.graph(
        "Targets up",
        "Targets of each job that answer.",
        "none",
        Q("sum by (job) (up)", "{{job}}"),
        width=THIRD,
    )
    b.graph(
        "Duration of scrapes",
        "Time that a target takes for its metrics. A scrape is given up after 10 s.",
        "s",
        Q("max by (job) (scrape_duration_seconds)", "{{job}}"),
        limits=Limits(None, 5),
        width=THIRD,
    )
    b.graph(
        "Samples of a scrape",
        "Samples that each job delivers. A scrape with more than 10,000 is refused.",
        "short",
        Q("sum by (job) (scrape_samples_scraped)", "{{job}}"),
        limits=Limits(None, 10000),
        width=THIRD,
    )

    b.row("Prometheus")
    b.graph(
        "Series",
        "Series in memory. Each costs a few kilobytes.",
        "short",
        Q('prometheus_tsdb_head_series{job="prometheus"}', "series"),
        width=THIRD,
    )
    b.graph(
        "Size of the database",
        "Room that the metrics take on the disk, and the bound at which the oldest go.",
        "bytes",
        Q(
            'prometheus_tsdb_storage_blocks_bytes{job="prometheus"}'
            ' + prometheus_tsdb_wal_storage_size_bytes{job="prometheus"}',
            "size",
        ),
        Q('prometheus_tsdb_retention_limit_bytes{job="prometheus"}', "bound"),
        width=THIRD,
    )
    b.graph(
        "Rules",
        "Time that the evaluation of each group of rules takes.",
        "s",
        Q("max by (rule_group) (prometheus_rule_group_last_duration_seconds)", "{{rule_group}}"),
        width=THIRD,
    )
    b.graph(
        "Failures",
        "What the monitoring failed to do, in a second: rules, notifications, writes.",
        "ops",
        Q("sum(rate(prometheus_rule_evaluation_failures_total[$__rate_interval]))", "rules"),
        Q("sum(rate(prometheus_notifications_dropped_total[$__rate_interval]))", "notifications"),
        Q("sum(rate(prometheus_tsdb_wal_writes_failed_total[$__rate_interval]))", "writes"),
        limits=Limits(None, 0.001),
        width=THIRD,
    )
    b.graph(
        "Memory of the monitoring",
        "Resident memory of each part.",
        "bytes",
        Q('process_resident_memory_bytes{job=~"prometheus|alertmanager|node|grafana"}', "{{job}}"),
        stacked=True,
        width=THIRD,
    )
    b.graph(
        "CPU of the monitoring",
        "Cores that each part uses.",
        "suffix: cores",
        Q('rate(process_cpu_seconds_total{job=~"prometheus|alertmanager|node|grafana"}[$__rate_interval])', "{{job}}"),
        stacked=True,
        width=THIRD,
    )
    return b
