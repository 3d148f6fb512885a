"""Panels that count, divide and join: their queries give the expected numbers for known series."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from roles.grafana import dashboards
from roles.grafana.dashboards.bounds import RULES
from tests.support.substitution import fill_in
from tests.support.traffic import Process, Site

Tool = Callable[..., CompletedProcess[str]]
BOARDS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in dashboards.OUTPUT.glob("*.json")
}
BUILD = 'comments_api_build_info{{job="api", instance="{}:8000", replica="{}", version="{}"}}'
REPLICAS = {
    BUILD.format("10.0.0.3", ".3", "aaa"): "1x20",
    BUILD.format("10.0.0.4", ".4", "bbb"): "1x20",
    'process_cpu_seconds_total{job="api", instance="10.0.0.3:8000", replica=".3"}': "0+6x20",
    'process_cpu_seconds_total{job="api", instance="10.0.0.4:8000", replica=".4"}': "0+3x20",
    'comments_api_requests_in_flight{job="api", instance="10.0.0.3:8000", replica=".3"}': "0x20",
    'comments_api_requests_in_flight{job="api", instance="10.0.0.4:8000", replica=".4"}': "2x20",
}
COUNT = (
    'flask_http_request_duration_seconds_count{{job="api", instance="{}", url_rule="/api/comment/new", status="{}"}}'
)
# One a second, a restart in minute 10, and one in ten goes wrong; probes count for nothing.
TRAFFIC = {
    COUNT.format("a", 201): "0+54x10 0+54x10",
    COUNT.format("a", 503): "0+6x10 0+6x10",
    'flask_http_request_duration_seconds_count{job="api", url_rule="/readyz", status="503"}': "0+600x20",
}
NODE = '{job="node", instance="n"}'
MADE = "comentarios_backup_last_success_timestamp_seconds"
TIB = 2**40

# One a second for a day, of which minute 600 fails a dozen, and an edge that began anew in minute 700.
EDGE_DAY = {
    'haproxy_backend_http_responses_total{job="edge", proxy="api", code="2xx"}': "0+60x700 0+60x739",
    'haproxy_backend_http_responses_total{job="edge", proxy="api", code="4xx"}': "0+6000x1440",
    'haproxy_backend_http_responses_total{job="edge", proxy="api", code="5xx"}': "0x599 12x100 0x740",
}

CASES: list[tuple[str, str, dict[str, str], dict[str, float]]] = [
    ("api", "CPU by replica", REPLICAS, {'{instance="10.0.0.3:8000", job="api", replica=".3", version="aaa"}': 0.1,
                                         '{instance="10.0.0.4:8000", job="api", replica=".4", version="bbb"}': 0.05}),
    ("api", "Requests in flight", REPLICAS, {'{instance="10.0.0.3:8000", job="api", replica=".3", version="aaa"}': 0,
                                             '{instance="10.0.0.4:8000", job="api", replica=".4", version="bbb"}': 2}),
    ("api", "Error ratio", TRAFFIC, {"{}": 0.1}),
    ("api", "Requests", TRAFFIC, {"{}": 1}),
    ("api", "Error ratio", {COUNT.format("a", 201): "0x20"}, {}),
    # A replica that was there before Prometheus; one that started, and had counted 50 by its first scrape.
    ("api", "Comments created",
     {'comments_api_comments_created_total{job="api", instance="old"}': "70000x20",
      'process_start_time_seconds{job="api", instance="old"}': "-1000000x20"}, {"{}": 0}),
    ("api", "Comments created",
     {'comments_api_comments_created_total{job="api", instance="new"}': "_x10 50x10",
      'process_start_time_seconds{job="api", instance="new"}': "_x10 601x10"}, {"{}": 50}),
    ("slo", "Requests, 24 h: availability", EDGE_DAY, {"{}": 86340 + 12}),
    ("slo", "Bad requests, 24 h: availability", EDGE_DAY, {"{}": 12}),
    ("slo", "Requests, 24 h: latency", {'up{job="api"}': "1x20"}, {"{}": 0}),
    ("slo", "Budget left: availability",
     {'slo:budget_left:ratio30d{slo="availability"}': "0.7x20", 'slo:budget_left:ratio30d{slo="latency"}': "0.5x20"},
     {'{slo="availability"}': 0.7}),
    ("api", "Restarts",
     {'comentarios_container_start_time_seconds{service="api", container="a"}': "100x9 700x10",
      'comentarios_container_start_time_seconds{service="api", container="b"}': "100x20",
      'comentarios_container_start_time_seconds{service="edge", container="c"}': "100x20"},
     {'{service="api"}': 1, '{service="edge"}': 0}),
    ("edge", "Size of the database",
     {'prometheus_tsdb_storage_blocks_bytes{job="prometheus"}': f"{TIB}x20",
      'prometheus_tsdb_wal_storage_size_bytes{job="prometheus"}': f"{TIB}x20",
      'prometheus_tsdb_retention_limit_bytes{job="prometheus"}': f"{8 * TIB}x20"},
     {'{job="prometheus"}': 0.25}),
    ("edge", "Alerts firing", {'ALERTS{alertname="Watchdog", alertstate="firing"}': "1x20"},
     {'{alertname="All is well"}': 0}),
    ("edge", "Alerts firing",
     {'ALERTS{alertname="ApiDown", alertstate="firing"}': "1x20",
      'ALERTS{alertname="TargetDown", alertstate="firing", instance="a"}': "1x20",
      'ALERTS{alertname="TargetDown", alertstate="firing", instance="b"}': "1x20",
      'ALERTS{alertname="Swapping", alertstate="pending"}': "1x20"},
     {'{alertname="ApiDown"}': 1, '{alertname="TargetDown"}': 1}),
    ("host", "Data volume growth",
     {'node_filesystem_avail_bytes{job="node", mountpoint="/var/lib/comentarios"}': "1000000-60x20",
      'node_filesystem_avail_bytes{job="node", mountpoint="/"}': "1000000-600x20"},
     {'{job="node", mountpoint="/var/lib/comentarios"}': 86400}),
    ("host", "Newest backup", {MADE + NODE: "600x20"}, {NODE: 600}),
    ("overview", "Fullest disk",
     {'node_filesystem_avail_bytes{job="node", mountpoint="/"}': "5x20",
      'node_filesystem_size_bytes{job="node", mountpoint="/"}': "10x20",
      'node_filesystem_avail_bytes{job="node", mountpoint="/d"}': "3x20",
      'node_filesystem_size_bytes{job="node", mountpoint="/d"}': "10x20"},
     {"{}": 0.3}),
    ("host", "CPU saturation: load",
     {'node_load1{job="node", instance="n"}': "3x20",
      'node_cpu_seconds_total{job="node", cpu="0", mode="idle"}': "0x20",
      'node_cpu_seconds_total{job="node", cpu="1", mode="idle"}': "0x20"}, {"{}": 1.5}),
    ("host", "CPU utilisation",
     {'node_cpu_seconds_total{job="node", cpu="0", mode="idle"}': "0+60x20",
      'node_cpu_seconds_total{job="node", cpu="1", mode="idle"}': "0+30x20",
      'node_cpu_seconds_total{job="node", cpu="1", mode="user"}': "0+30x20"}, {'{mode="user"}': 0.25}),
    ("edge", "Configuration",
     {'prometheus_config_last_reload_successful{job="prometheus"}': "1x20",
      'alertmanager_config_last_reload_successful{job="alertmanager"}': "0x20"},
     {'{job="prometheus"}': 1, '{job="alertmanager"}': 0}),
]  # fmt: skip


# Panels that count or divide, by what was sent: (dashboard, panel, query, what it should say, its error as a share).
Known = Callable[[Counter[str]], float]
COUNTS: list[tuple[str, str, str, Known, float]] = [
    ("slo", "Requests, 24 h: availability", "A", lambda sent: sent["all"] - sent["4xx"], 0.03),
    ("slo", "Bad requests, 24 h: availability", "A", lambda sent: sent["bad"], 0.03),
    ("slo", "Requests, 24 h: latency", "A", lambda sent: sent["2xx"], 0.03),
    ("slo", "Bad requests, 24 h: latency", "A", lambda sent: sent["slow"], 0.03),
    ("api", "Comments created", "A", lambda sent: sent["created"], 0.03),
]
RECORDED: list[tuple[str, str, str, Known, float]] = [
    ("slo", "Budget left: availability", "A", lambda sent: 1 - sent["bad"] / (sent["all"] - sent["4xx"]) / 0.001, 0.02),
    ("slo", "Budget left: latency", "A", lambda sent: 1 - sent["slow"] / sent["2xx"] / 0.01, 0.02),
    ("slo", "Burn rate, 1 h: availability", "A", lambda sent: sent["bad"] / (sent["all"] - sent["4xx"]) / 0.001, 0.02),
    ("slo", "Burn rate, 1 h: latency", "A", lambda sent: sent["slow"] / sent["2xx"] / 0.01, 0.02),
]
# While ten arrive a second.
RATES: list[tuple[str, str, str, Known, float]] = [
    ("api", "Requests", "A", lambda _: 10, 0.02),
    ("api", "Error ratio", "A", lambda _: 0.02, 0.05),
    ("api", "Requests by status", "A", lambda _: 9, 0.02),
    ("api", "Requests by status", "C", lambda _: 0.8, 0.05),
    ("api", "Comments created over time", "A", lambda _: 3, 0.02),
    ("edge", "Requests by class", "A", lambda _: 9, 0.02),
    ("edge", "Requests by class", "D", lambda _: 0.2, 0.05),
    ("edge", "Error ratio", "A", lambda _: 0.02, 0.05),
    # The bucket that 8 % of the requests are in, none of them among the fastest 90 %.
    ("overview", "Latency, 99 %", "A", lambda _: 0.375, 0.34),
    ("overview", "Latency", "A", lambda _: 0.00175, 0.43),
]


def young() -> Site:
    """A host that is ten minutes old and got a hundred requests within two seconds."""
    site = Site([Process("api", "a"), Process("api", "b")])
    site.run(600, [(100, 102, 50)])
    return site


def busy() -> Site:
    """An hour of ten requests a second, with a release, a replica that crashes and an edge that begins anew."""
    old = [Process("api", "a", died=1210), Process("api", "b", died=1210)]
    new = [Process("api", "c", born=1200), Process("api", "d", born=1200, died=2000), Process("api", "d", born=2003)]
    site = Site([*old, *new], edge_restarts=(1500,))
    site.run(3600, [(60, 3300, 10)])
    return site


def idle() -> Site:
    """A hundred requests within a second, and nothing else."""
    site = Site([Process("api", "a", born=30), Process("api", "b", born=30)])
    site.run(3600, [(120, 121, 100)])
    return site


def expression(uid: str, title: str, ref: str = "A") -> str:
    """A panel's query as Grafana sends it: everything chosen, an hour shown."""
    (panel,) = (one for one in BOARDS[uid]["panels"] if one["title"] == title and one["type"] != "row")
    (target,) = (one for one in panel["targets"] if one["refId"] == ref)
    return str(fill_in(target["expr"], 3600, 15, {"route": ".*", "host": ".*", "replica": ".*"}))


def checks(panels: list[tuple[str, str, str, Known, float]], site: Site, at: int, host: str = "") -> list[object]:
    found: list[object] = []
    for uid, title, ref, known, tolerance in panels:
        right = known(site.sent)
        off = f"abs(({expression(uid, title, ref)}) - {right}) <= {abs(right) * tolerance}"
        samples = [{"labels": f'{{host="{host}"}}' if host else "{}", "value": 1}]
        found.append({"expr": f"count by (host) ({off})", "eval_time": f"{at}s", "exp_samples": samples})
    return found


def promtool_tests(promtool: Tool, folder: Path, tests: list[dict[str, object]], rules: bool = False) -> None:
    """All in one run: starting promtool takes longer than all of the cases."""
    shutil.copytree(RULES, folder / "rules")
    files = ["rules/slo.yml"] if rules else []
    order = ["slo-requests", "slo-burn", "slo-burn-days", "slo-alerts"] if rules else []
    head = {"rule_files": files, "group_eval_order": order, "evaluation_interval": "15s"}
    (folder / "panels.test.yml").write_text(yaml.safe_dump({**head, "tests": tests}))
    folder.chmod(0o755)
    done = promtool("test", "rules", "panels.test.yml", files=folder)
    assert done.returncode == 0, done.stdout


def of(host: str, series: str) -> str:
    """The series with a host's label."""
    name, brace, labels = series.partition("{")
    return (
        f'{name}{{host="{host}"{", " if labels not in ("", "}") else ""}{labels if brace else "}"}' if host else series
    )


@pytest.mark.parametrize(
    "hosts", [("",), ("one", "two")], ids=["a host's own Prometheus", "one that collects from two"]
)
def test_panels_give_the_number_worked_out_by_hand(promtool: Tool, tmp_path: Path, hosts: tuple[str, ...]) -> None:
    """At minute 20, or after a day where the series are that long. Of two hosts, each has its own number."""
    tests: list[dict[str, object]] = []
    for uid, title, series, samples in CASES:
        day = series is EDGE_DAY
        # That there is no alert is said once.
        shown = [(of(host, labels), value) for host in hosts for labels, value in samples.items()]
        shown = list(samples.items()) if "All is well" in str(samples) else shown
        tests.append({
            "name": f"{uid}, {title}",
            "interval": "1m",
            "input_series": [
                {"series": of(host, name), "values": values} for host in hosts for name, values in series.items()
            ],
            "promql_expr_test": [{
                "expr": f"round({expression(uid, title)}, {1 if day else 0.0001})",
                "eval_time": "1d" if day else "20m",
                "exp_samples": [{"labels": labels, "value": value} for labels, value in shown],
            }],
        })  # fmt: skip
    promtool_tests(promtool, tmp_path, tests)


def test_panels_give_what_was_sent(promtool: Tool, tmp_path: Path) -> None:
    """On a host that is ten minutes old, and on one after an hour of all that befalls counters."""
    small, large = young(), busy()
    moments = [at for at in (900, 1290, 1590, 2100, 3240) for _ in RATES]
    tests: list[dict[str, object]] = [
        {"promql_expr_test": checks(COUNTS, small, 600)},
        {
            "promql_expr_test": checks(COUNTS + RECORDED, large, 3600)
            + [check for at in dict.fromkeys(moments) for check in checks(RATES, large, at)]
        },
    ]
    for test, site in zip(tests, (small, large), strict=True):
        test["interval"] = "15s"
        test["input_series"] = [{"series": name, "values": values} for name, values in site.series().items()]
    promtool_tests(promtool, tmp_path, tests, rules=True)


def test_a_host_is_not_hidden_by_another(promtool: Tool, tmp_path: Path) -> None:
    """A Prometheus that collects from two hosts: each has its own numbers, whatever the other's are."""
    first, second = busy(), idle()
    series = {**first.series("one"), **second.series("two")}
    test: dict[str, object] = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            *checks(COUNTS, first, 3600, "one"),
            *checks(COUNTS, second, 3600, "two"),
            *checks(RATES, first, 900, "one"),
        ],
    }
    promtool_tests(promtool, tmp_path, [test])
