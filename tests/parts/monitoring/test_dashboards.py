"""Prometheus' own parser takes the dashboards' queries. All else about them is in tests/units/dashboards."""

import json

import yaml

from roles.grafana import dashboards

BOARDS = [json.loads(path.read_text()) for path in sorted(dashboards.OUTPUT.glob("*.json"))]
QUERIES = [
    one["expr"]
    for board in BOARDS
    for one in [target for panel in board["panels"] for target in panel.get("targets", [])]
    + board["annotations"]["list"]
]


def test_queries_are_promql(promtool, tmp_path):
    # As rules, since promtool has no other way to parse an expression without a server.
    values = {"$__rate_interval": "1m", "$__range": "3h", "$__interval": "15s", "$route": ".*"}
    rules = []
    for number, expr in enumerate(QUERIES):
        for variable, value in values.items():
            expr = expr.replace(variable, value)
        assert "$" not in expr, f"{expr}: a variable that nobody fills in"
        rules.append({"record": f"target:{number}", "expr": expr})
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "targets", "rules": rules}]}))
    tmp_path.chmod(0o755)
    done = promtool("check", "rules", "rules.yml", files=tmp_path)
    assert done.returncode == 0, done.stdout
    assert f"{len(QUERIES)} rules found" in done.stdout
