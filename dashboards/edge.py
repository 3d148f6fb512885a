"""The edge, and the monitoring itself."""

from .parts import QUARTER, THIRD, Board, Limits, Q

# The one handler that every public request passes once; see rules/slo.yml.
PUBLIC = 'job="edge", handler="subroute"'
REQUESTS = "caddy_http_request_duration_seconds_count"
BUCKETS = f"caddy_http_request_duration_seconds_bucket{{{PUBLIC}}}"


def quantile(share: float) -> Q:
    return Q(
        f"histogram_quantile({share}, sum by (le) (rate({BUCKETS}[$__rate_interval])))",
        f"{share:.0%}",
    )


def by_class(digit: str) -> Q:
    expr = f'sum(rate({REQUESTS}{{{PUBLIC}, code=~"{digit}.."}}[$__rate_interval])) or vector(0)'
    return Q(expr, f"{digit}xx")


def board() -> Board:
    b = Board("edge", "Edge and monitoring", "Caddy, through which everything passes, and the monitoring itself.")

    b.row("Edge")
    b.number(
        "Requests",
        "Requests answered in a second, errors included.",
        "reqps",
        Q(f"sum(rate({REQUESTS}{{{PUBLIC}}}[$__rate_interval]))", "requests"),
    )
    b.number(
        "Error ratio",
        "Share of the requests that were answered with a 5xx, by the API or by the edge in its place.",
        "percentunit",
        Q(
            f'(sum(rate({REQUESTS}{{{PUBLIC}, code=~"5.."}}[$__rate_interval])) or vector(0))'
            f" / (sum(rate({REQUESTS}{{{PUBLIC}}}[$__rate_interval])) > 0)",
            "5xx",
        ),
        Limits(amber=0.001, red=0.01),
    )
    b.number(
        "In flight",
        "Requests that wait for their answer.",
        "short",
        Q(f"sum(caddy_http_requests_in_flight{{{PUBLIC}}})", "requests"),
    )
    b.number(
        "Configuration",
        "1 when the newest Caddyfile is in force, 0 when Caddy refused it.",
        "none",
        Q("caddy_config_last_reload_successful", "in force"),
        Limits(amber=1, red=0.5),
    )
    b.number(
        "Certificate",
        "Time until the certificate expires. Caddy renews it 30 days before.",
        "s",
        Q("comentarios_certificate_expiry_timestamp_seconds - time()", "{{domain}}"),
        Limits(amber=28 * 86400, red=14 * 86400),
        empty="No domain",
    )
    b.number(
        "Memory",
        "Resident memory of the edge.",
        "bytes",
        Q('process_resident_memory_bytes{job="edge"}', "edge"),
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
        "Latency",
        "Half, 95 % and 99 % of the requests are answered within these times; the line is the objective's 250 ms.",
        "s",
        quantile(0.5),
        quantile(0.95),
        quantile(0.99),
        limits=Limits(None, 0.25),
        width=THIRD,
    )
    b.graph(
        "Failures of the edge",
        "Requests in a second that the edge could not pass on to any replica, or only in part.",
        "reqps",
        Q(f"sum(rate(caddy_http_request_errors_total{{{PUBLIC}}}[$__rate_interval])) or vector(0)", "failed"),
        limits=Limits(None, 0.1),
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
