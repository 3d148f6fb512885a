"""Prometheus' own parser accepts the dashboards' queries. Other tests are in tests/units/dashboards."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import yaml

from roles.grafana import dashboards
from tests.support.substitution import fill_in

BOARDS = [json.loads(path.read_text()) for path in sorted(dashboards.OUTPUT.glob("*.json"))]
QUERIES = [
    one["expr"]
    for board in BOARDS
    for one in [target for panel in board["panels"] for target in panel.get("targets", [])]
    + board["annotations"].get("list", [])
]


def test_queries_are_promql(promtool: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    # As rules, since promtool has no other way to parse an expression without a server.
    rules = []
    for number, expr in enumerate(QUERIES):
        expr = fill_in(expr, 10800, 15, {"host": ".*", "replica": ".*", "route": ".*"})
        rules.append({"record": f"target:{number}", "expr": expr})
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "targets", "rules": rules}]}))
    tmp_path.chmod(0o755)
    done = promtool("check", "rules", "rules.yml", files=tmp_path)
    assert done.returncode == 0, done.stdout
    assert f"{len(QUERIES)} rules found" in done.stdout
