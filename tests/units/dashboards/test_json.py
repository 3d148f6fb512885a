"""The JSON matches the Python, and follows the rules for good dashboards."""

import json
import re
from typing import Any

import pytest

from roles.grafana import dashboards
from tests.support.expected_empty import EXPECTED_EMPTY

FILES = {path.name: path.read_text() for path in sorted(dashboards.OUTPUT.glob("*.json"))}
BOARDS: dict[str, dict[str, Any]] = {name.removesuffix(".json"): json.loads(text) for name, text in FILES.items()}
PANELS = [
    pytest.param(uid, panel, id=f"{uid}-{panel['title']}")
    for uid, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] not in ("row", "text")
]
TARGETS = [
    pytest.param(target, id=f"{uid}-{panel['title']}-{target['refId']}")
    for uid, board in BOARDS.items()
    for panel in board["panels"]
    for target in panel.get("targets", [])
]
# Grafana's own names of the units that are used; an unknown one would be shown as it stands.
UNITS = {"none", "short", "percentunit", "s", "bytes", "Bps", "reqps", "ops", "pps", "suffix: cores"}
COUNTER = re.compile(r"\b[a-zA-Z_:][a-zA-Z0-9_:]*_(?:total|count|sum|bucket)\b(?:\{[^}]*\})?(\[[^\]]+\])?")


def test_json_is_what_the_python_makes() -> None:
    assert dashboards.render() == FILES, "run `python -m roles.grafana.dashboards`"


def test_which_there_are() -> None:
    assert set(BOARDS) == {"overview", "api", "slo", "host", "edge", "runbook"}


def test_titles_differ() -> None:
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS)


@pytest.mark.parametrize("uid", BOARDS)
def test_board(uid: str) -> None:
    board = BOARDS[uid]
    assert board["uid"] == uid
    assert board["title"] and board["description"]
    assert board["editable"] is False
    assert board["schemaVersion"] >= 36
    assert board["tags"] == ["comentarios"]
    assert [link["tags"] for link in board["links"]] == [["comentarios"]], "no links to the other dashboards"
    if uid == "runbook":
        assert not board.get("templating", {}).get("list"), "it asks for nothing"
        return
    variables = board["templating"]["list"]
    assert [v["name"] for v in variables][:2] == ["datasource", "host"]
    assert all(v.get("datasource", {}).get("uid") == "${datasource}" for v in variables if v["type"] == "query")


@pytest.mark.parametrize("uid", BOARDS)
def test_ids_and_titles_are_unique(uid: str) -> None:
    panels = BOARDS[uid]["panels"]
    ids = [panel["id"] for panel in panels]
    assert all(ids) and len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in panels if panel["type"] not in ("row", "text")]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(("uid", "panel"), PANELS)
def test_panel(uid: str, panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in UNITS
    steps = defaults["thresholds"]["steps"]
    assert steps[0].get("value") is None
    bounds = [step["value"] for step in steps[1:]]
    assert bounds == sorted(bounds)
    if panel["type"] == "timeseries":
        assert panel["options"]["legend"]["showLegend"] is True
        drawn = defaults["custom"].get("thresholdsStyle", {}).get("mode") == "dashed"
        assert drawn == bool(bounds), "a threshold that nobody sees"
    if panel["type"] == "stat":
        assert panel["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]
    refs = [target["refId"] for target in panel["targets"]]
    assert refs and len(set(refs)) == len(refs)


@pytest.mark.parametrize("target", TARGETS)
def test_target(target: dict[str, Any]) -> None:
    assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert re.fullmatch(r"\S.* \{\{host\}\}", target["legendFormat"]), "which host's?"
    expr = target["expr"]
    ranges = re.findall(r"(?:rate|irate)\([^()]*\[([^\]]+)\]", expr)
    assert set(ranges) <= {"$__rate_interval"}, "a rate over anything but $__rate_interval"
    # count() counts series, whatever their values are.
    for counter in COUNTER.finditer(re.sub(r"\bcount by \([^)]*\) \([^()]*\)", "", expr)):
        assert counter.group(1), f"{counter.group(0)} is a counter outside of rate() and increase()"


EXPRESSIONS = [
    one["expr"]
    for board in BOARDS.values()
    for one in [target for panel in board["panels"] for target in panel.get("targets", [])]
    + board.get("annotations", {}).get("list", [])
]
WORDS = {"sum", "min", "max", "avg", "count", "by", "on", "and", "or", "unless", "group_left", "offset"}


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_every_selector_takes_the_chosen_host(expr: str) -> None:
    assert 'host=~"$host"' in expr
    bare = re.sub(r"\{[^}]*host=~\"\$host\"[^}]*\}", "{}", expr)
    assert "=" not in re.findall(r"\{([^}]*)\}", bare), bare
    # What is left of names, after labels, texts and functions, has its braces.
    names = re.sub(r"\b(?:by|on|group_left) \([^)]*\)|\"[^\"]*\"|\[[^]]*\]", "", bare)
    metrics = re.findall(r"(?<![\w$])[a-z_:A-Z][\w:]*(?!\w)(?!\s*\()", names)
    without = [name for name in metrics if name not in WORDS and f"{name}{{}}" not in names]
    assert not without, without


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_no_sum_hides_a_host(expr: str) -> None:
    for operator in re.finditer(r"\b(?:sum|min|max|avg|count|topk|quantile)\b(?: by \(([^)]*)\))?", expr):
        assert operator[1] and "host" in operator[1].split(", "), f"{operator[0]} adds hosts up"
    for join in re.finditer(r"\bon \(([^)]*)\)(.*)", expr):
        assert "host" in join[1].split(", ") or join[2].endswith('"All is well", "", "")'), join[0]
    assert "scalar(" not in expr


def test_replica_can_be_chosen() -> None:
    """Wherever the API dashboard shows what replicas do."""
    chosen = {
        panel["title"]
        for panel in BOARDS["api"]["panels"]
        for target in panel.get("targets", [])
        if 'replica=~"$replica"' in target["expr"]
    }
    assert {"Requests", "Error ratio", "Latency", "Requests in flight", "CPU by replica", "Comments created"} <= chosen
    assert "Replicas up" not in chosen


@pytest.mark.parametrize("uid", [uid for uid in BOARDS if uid != "runbook"])
def test_what_happened_is_annotated(uid: str) -> None:
    shown = {one["name"]: one for one in BOARDS[uid]["annotations"]["list"]}
    assert list(shown) == ["Releases", "Rollbacks", "Backups", "Alerts"]
    assert [one["enable"] for one in shown.values()] == [True, True, False, True]
    assert all(shown[name]["useValueForTime"] for name in ("Releases", "Rollbacks", "Backups"))
    assert 'kind!="rollback"' in shown["Releases"]["expr"] and 'kind="rollback"' in shown["Rollbacks"]["expr"]
    assert len({one["iconColor"] for one in shown.values()}) == 4


def test_expected_empty_names_what_exists() -> None:
    known = {
        (uid, panel["title"], target["refId"])
        for uid, board in BOARDS.items()
        for panel in board["panels"]
        for target in panel.get("targets", [])
    }
    for uid, board in BOARDS.items():
        annotations = board.get("annotations", {}).get("list", [])
        known |= {(uid, f"annotation {one['name']}", "A") for one in annotations}
    assert EXPECTED_EMPTY.keys() <= known
    assert all(reason.endswith(".") for reason in EXPECTED_EMPTY.values())
