"""Panels that count, divide and join give the number worked out by hand: their own queries over written series."""

import json

import yaml

from roles.grafana import dashboards

BOARDS = {path.stem: json.loads(path.read_text()) for path in dashboards.OUTPUT.glob("*.json")}
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

CASES = [
    ("api", "CPU by replica", REPLICAS, {'{instance="10.0.0.3:8000", job="api", replica=".3", version="aaa"}': 0.1,
                                         '{instance="10.0.0.4:8000", job="api", replica=".4", version="bbb"}': 0.05}),
    ("api", "Requests in flight", REPLICAS, {'{instance="10.0.0.3:8000", job="api", replica=".3", version="aaa"}': 0,
                                             '{instance="10.0.0.4:8000", job="api", replica=".4", version="bbb"}': 2}),
    ("api", "Error ratio", TRAFFIC, {"{}": 0.1}),
    ("api", "Requests", TRAFFIC, {"{}": 1}),
    ("api", "Error ratio", {COUNT.format("a", 201): "0x20"}, {}),
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
     {'node_filesystem_avail_bytes{mountpoint="/"}': "5x20", 'node_filesystem_size_bytes{mountpoint="/"}': "10x20",
      'node_filesystem_avail_bytes{mountpoint="/d"}': "3x20", 'node_filesystem_size_bytes{mountpoint="/d"}': "10x20"},
     {"{}": 0.3}),
]  # fmt: skip


def test_panels_give_the_number_worked_out_by_hand(promtool, tmp_path) -> None:
    """At minute 20, in one run of promtool: starting it takes longer than all of the cases."""
    tests = []
    for uid, title, series, samples in CASES:
        (panel,) = (one for one in BOARDS[uid]["panels"] if one["title"] == title and one["type"] != "row")
        (target,) = panel["targets"]
        expr = target["expr"].replace("$__rate_interval", "4m").replace("$route", ".*")
        rounded = [{"labels": labels, "value": value} for labels, value in samples.items()]
        tests.append({
            "name": f"{uid}, {title}",
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{"expr": f"round({expr}, 0.0001)", "eval_time": "20m", "exp_samples": rounded}],
        })  # fmt: skip
    (tmp_path / "panels.test.yml").write_text(yaml.safe_dump({"rule_files": [], "tests": tests}))
    tmp_path.chmod(0o755)
    done = promtool("test", "rules", "panels.test.yml", files=tmp_path)
    assert done.returncode == 0, done.stdout
