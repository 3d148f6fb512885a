"""The dashboards are what the Python makes, and hold to the rules for good dashboards."""

import json
import re
from typing import Any

import pytest

from roles.grafana import dashboards
from roles.grafana.dashboards.expected_empty import EXPECTED_EMPTY

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


def test_there_are_five() -> None:
    assert set(BOARDS) == {"overview", "api", "slo", "host", "edge"}


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
    variables = board["templating"]["list"]
    assert [v["name"] for v in variables if v["type"] == "datasource"] == ["datasource"]
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
    assert target["legendFormat"] and target["legendFormat"] != "__auto"
    expr = target["expr"]
    ranges = re.findall(r"(?:rate|irate)\([^()]*\[([^\]]+)\]", expr)
    assert set(ranges) <= {"$__rate_interval"}, "a rate over anything but $__rate_interval"
    # count() counts series, whatever their values are.
    for counter in COUNTER.finditer(re.sub(r"\bcount\([^()]*\)", "", expr)):
        assert counter.group(1), f"{counter.group(0)} is a counter outside of rate() and increase()"


def test_releases_are_annotated() -> None:
    (annotation,) = (a for a in BOARDS["api"]["annotations"]["list"] if a["name"] == "Releases")
    assert annotation["enable"] and annotation["useValueForTime"]
    assert annotation["expr"] == "comentarios_release_timestamp_seconds * 1000"


def test_expected_empty_names_what_exists() -> None:
    known = {
        (uid, panel["title"], target["refId"])
        for uid, board in BOARDS.items()
        for panel in board["panels"]
        for target in panel.get("targets", [])
    }
    for uid, board in BOARDS.items():
        known |= {(uid, f"annotation {one['name']}", "A") for one in board["annotations"]["list"]}
    assert EXPECTED_EMPTY.keys() <= known
    assert all(reason.endswith(".") for reason in EXPECTED_EMPTY.values())
