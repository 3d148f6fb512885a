"""After traffic, failures and a release, every query of every dashboard returns data."""

import json
import re
import time
from functools import partial
from pathlib import Path

import pytest

from roles.grafana.dashboards.panels import OR_ZERO
from tests.support.expected_empty import EXPECTED_EMPTY
from tests.support.monitoring import http
from tests.support.substitution import fill_in, queries, variables

pytestmark = pytest.mark.needs_history

ROOT = Path(__file__).resolve().parents[4]
FILES = sorted((ROOT / "roles/grafana/files/dashboards").glob("*.json"))
QUERIES = [query for path in FILES for query in queries(path.stem, json.loads(path.read_text()))]
# Two scrapes make a rate, and the slowest rules run every two minutes.
PATIENCE = 180


def _bare(expr: str) -> str:
    """Without the zero that a panel shows for want of data: it would hide that there is none."""
    return expr.replace(f" {OR_ZERO.replace('$host', '.*')}", "")


@pytest.fixture(scope="module")
def answers(prometheus, traffic, failures, history) -> dict[tuple[str, str, str], bool]:
    """For each query whether it returns data, by now or before long."""
    found = {query.key: False for query in QUERIES}
    deadline = time.monotonic() + PATIENCE
    while True:
        for query in QUERIES:
            found[query.key] = found[query.key] or prometheus.has_data(
                _bare(query.expr), query.seconds, query.step, query.instant
            )
        missing = [key for key, answered in found.items() if not answered and key not in EXPECTED_EMPTY]
        if not missing or time.monotonic() > deadline:
            return found
        time.sleep(5)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: "-".join(query.key))
def test_query_returns_data(answers, query):
    if query.key in EXPECTED_EMPTY:
        return
    assert answers[query.key], f"no data: {query.expr}"


def test_variables_have_values(prometheus, answers, boards, eventually):
    for uid, board in boards.items():
        for name, variable in variables(board).items():
            definition = variable["definition"].replace("$host", ".*")
            metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", definition).groups()
            now = partial(_values, prometheus, metric, label)
            values = now()
            # A host's own series do not name it; those that another Prometheus takes from it do.
            assert bool(values) == (name != "host"), f"${name} of {uid} has the values {values}"
            # One value alone, as Grafana writes it into a matcher: every panel that uses it still shows something.
            for value in values:
                if name == "route" and "comment" not in value:
                    continue
                for query in queries(uid, board, {name: re.escape(value).replace("\\", "\\\\")}):
                    original = next(q for q in queries(uid, board) if q.key == query.key)
                    if query.expr != original.expr and "5.." not in query.expr:
                        # A replica that has just been released is scraped twice before it has a rate; one that has just
                        # gone, before that, is known for three scrapes more.
                        assert eventually(partial(_shown, prometheus, query, value, now), 75), query.expr


def _values(prometheus, metric, label):
    """Of series that are there now: a replica that has gone shows nothing."""
    return {series["metric"][label] for series in prometheus.instant(metric) if label in series["metric"]}


def _shown(prometheus, query, value, now):
    return prometheus.has_data(query.expr, query.seconds, query.step, query.instant) or value not in now()


def test_series_that_leave_the_host_name_it(prometheus, up):
    status, body = http(f"{prometheus.url}/federate?match[]=up")
    assert status == 200
    assert set(re.findall(r'\bhost="([^"]*)"', body.decode())) == {up.host.name}
    assert body.count(b'host="') == body.count(b"up{")


def test_substitution_is_grafanas():
    # A scrape every 15 s: $__rate_interval is four scrapes on a short range, and more than a step on a long one.
    assert fill_in("rate(x[$__rate_interval])", 3 * 3600, 15, {}) == "rate(x[60s])"
    assert fill_in("rate(x[$__rate_interval])", 86400, 86, {}) == "rate(x[101s])"
    assert fill_in("increase(x[$__range]) / $__range_s", 3600, 15, {}) == "increase(x[3600s]) / 3600"


def test_every_rule_is_healthy(prometheus, answers, eventually):
    """Of a Prometheus that has just started, each rule is unknown until its group's interval has passed."""

    def healthy() -> bool:
        groups = prometheus.get("rules")["groups"]
        assert len(groups) > 5
        bad = [(r["name"], r.get("lastError")) for group in groups for r in group["rules"] if r["health"] != "ok"]
        assert not bad
        return True

    assert eventually(healthy, 150)


def test_every_target_is_up(prometheus, answers, eventually):
    """A replica that has just started is asked within a scrape's time."""

    def up() -> bool:
        targets = prometheus.get("targets", state="active")["activeTargets"]
        assert {t["labels"]["job"] for t in targets} >= {"api", "edge", "node", "alertmanager", "prometheus"}
        assert not [(t["scrapeUrl"], t["health"], t["lastError"]) for t in targets if t["health"] != "up"]
        return True

    assert eventually(up, 20)


def test_memory_of_the_monitoring(prometheus, answers, record_property):
    """Resident memory without Grafana, under the tests' own load: the goal holds at rest."""
    used = {
        series["metric"]["job"]: float(series["value"][1])
        for series in prometheus.instant('process_resident_memory_bytes{job=~"prometheus|alertmanager|node"}')
    }
    record_property("memory", used)
    print({job: f"{size / 1e6:.0f} MB" for job, size in used.items()})
    assert set(used) == {"prometheus", "alertmanager", "node"}
    assert sum(used.values()) <= 200e6, used
