"""The dashboards' layout: a full grid, readable legends, consistent words and colours."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

import pytest
import yaml

from roles.grafana import dashboards
from roles.grafana.dashboards.bounds import EXPRESSIONS, GROUPS, bound
from roles.grafana.dashboards.panels import COLOURS, Board
from roles.grafana.dashboards.sections import SECTIONS, panel_path

BOARDS: dict[str, Board] = {board.uid: board for board in dashboards.boards()}
JSONS: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(dashboards.OUTPUT.glob("*.json"))
}
PANELS = [pytest.param(uid, one, id=f"{uid}-{one['title']}") for uid, board in JSONS.items() for one in board["panels"]]


class Legend(NamedTuple):
    width: int
    height: int
    right: bool
    names: tuple[str, ...]


def legend(one: dict[str, Any], names: tuple[str, ...]) -> Legend:
    """The legend of a graph that has to show these names."""
    place = one["gridPos"]
    return Legend(place["w"], place["h"], one["options"]["legend"]["placement"] == "right", names)


LEGENDS = [
    pytest.param(legend(one, BOARDS[uid].names[one["title"]]), id=f"{uid}-{one['title']}")
    for uid, board in JSONS.items()
    for one in board["panels"]
    if one["type"] == "timeseries"
]
# Grafana's measures in pixels: a grid's row, the gap between two, a panel's title and padding, a legend's line, the
# mark before a name and the gap after it, a letter. Grafana gives a legend below 35 % of a panel's height, and one
# beside it 60 % of its width, at the most.
ROW, GAP, TITLE, LINE, MARK, LETTER = 30, 8, 40, 22, 32, 6.5
MENU = 48


def fits(legend: Legend, screen: int) -> bool:
    width = (screen - MENU) * legend.width / 24 - 2 * GAP
    height = legend.height * ROW + (legend.height - 1) * GAP - TITLE
    if legend.right:
        widest = max(MARK + LETTER * len(name) for name in legend.names)
        return len(legend.names) * LINE <= height and widest <= 0.6 * width
    lines = math.ceil(sum(MARK + LETTER * len(name) for name in legend.names) / width)
    return lines * LINE <= 0.35 * height


@pytest.mark.parametrize("screen", [1600, 1280])
@pytest.mark.parametrize("legend", LEGENDS)
def test_every_series_is_named_without_scrolling(legend: Legend, screen: int) -> None:
    assert fits(legend, screen), f"at {screen} pixels {legend.names} do not fit"


@pytest.mark.parametrize("legend", [Legend(8, 8, False, tuple("abcdefgh" * 8)), Legend(8, 8, True, ("name",) * 20)])
def test_a_legend_that_is_too_long_is_found(legend: Legend) -> None:
    assert not fits(legend, 1280)


def test_names_are_given_where_labels_make_them() -> None:
    for board in BOARDS.values():
        for title, names in board.names.items():
            assert not any("{{" in name for name in names), f"{board.uid}, {title}: which names may there be?"


def test_json_and_python_are_of_one_mind() -> None:
    for uid, board in BOARDS.items():
        drawn = {one["title"]: one for one in JSONS[uid]["panels"] if one["type"] == "timeseries"}
        assert drawn.keys() == board.names.keys()
        assert all(one["options"]["legend"]["displayMode"] == "list" for one in drawn.values())


@pytest.mark.parametrize("uid", JSONS)
def test_grid_has_no_hole_and_no_overlap(uid: str) -> None:
    """Every cell down to the last panel belongs to exactly one."""
    cells = [
        (at["x"] + x, at["y"] + y)
        for at in (one["gridPos"] for one in JSONS[uid]["panels"])
        for x in range(at["w"])
        for y in range(at["h"])
    ]
    bottom = max(y for _, y in cells) + 1
    assert sorted(cells) == sorted((x, y) for x in range(24) for y in range(bottom))


@pytest.mark.parametrize("uid", [uid for uid in JSONS if uid != "runbook"])
def test_each_row_says_what_good_looks_like(uid: str) -> None:
    panels = JSONS[uid]["panels"]
    rows = [number for number, one in enumerate(panels) if one["type"] == "row"]
    assert rows and rows[0] == 0
    for number in rows:
        line = panels[number + 1]
        assert line["type"] == "text" and re.fullmatch(r"\*Good:\* .+\.", line["options"]["content"])


@pytest.mark.parametrize(("uid", "one"), PANELS)
def test_one_thing_has_one_colour(uid: str, one: dict[str, Any]) -> None:
    given = {
        rule["matcher"]["options"]: rule["properties"][0]["value"]["fixedColor"]
        for rule in one.get("fieldConfig", {}).get("overrides", [])
    }
    if one["type"] == "timeseries":
        names = BOARDS[uid].names[one["title"]]
        # By an expression that takes the name with a host's behind it, and without.
        assert given == {f"/^{name}( \\S*)?$/": COLOURS[name] for name in names if name in COLOURS}


@pytest.mark.parametrize("name", COLOURS)
def test_colour_is_the_same_on_several_hosts(name: str) -> None:
    pattern = rf"^{name}( \S*)?$"
    assert all(re.search(pattern, shown) for shown in (name, f"{name} ", f"{name} comentarios-1"))
    assert not any(re.search(pattern, f"{name} {other} comentarios-1") for other in ("and more", "of a day"))


@pytest.mark.parametrize(("uid", "one"), PANELS)
def test_nothing_to_decode(uid: str, one: dict[str, Any]) -> None:
    """No address in place of a name, and what is missing or yes or no has a word and a colour."""
    for target in one.get("targets", []):
        assert "{{instance}}" not in target["legendFormat"]
    if one["type"] != "stat":
        return
    defaults = one["fieldConfig"]["defaults"]
    mappings = defaults.get("mappings", [])
    if defaults.get("noValue"):
        assert [m["options"]["match"] for m in mappings if m["type"] == "special"] == ["null+nan"]
    if re.search(r"last_success\{|sync_status\{|reload_successful", one["targets"][0]["expr"]):
        words = next(m["options"] for m in mappings if m["type"] == "value")
        assert words.keys() == {"0", "1"} and words["1"]["color"] == "green"


@pytest.mark.parametrize(("uid", "one"), PANELS)
def test_missing_certificate_is_neutral(uid: str, one: dict[str, Any]) -> None:
    if one["title"] == "Certificate":
        (special,) = one["fieldConfig"]["defaults"]["mappings"]
        assert special["options"]["result"] == {"color": "text", "index": 0, "text": "No domain"}


@pytest.mark.parametrize(
    ("uid", "title"), [("edge", "Alerts firing"), ("slo", "Budget alerts"), ("overview", "Alerts firing")]
)
def test_no_alert_is_green(uid: str, title: str) -> None:
    (one,) = (one for one in JSONS[uid]["panels"] if one["title"] == title)
    (words,) = one["fieldConfig"]["defaults"]["mappings"]
    assert words["options"]["0"] == {"color": "green", "index": 0, "text": "No alert"}
    assert one["targets"][0]["expr"].endswith('or on () label_replace(vector(0), "alertname", "All is well", "", "")')


def test_prometheus_is_shown_as_a_share_of_its_bound() -> None:
    (one,) = (one for one in JSONS["edge"]["panels"] if one["title"] == "Size of the database")
    assert one["fieldConfig"]["defaults"]["unit"] == "percentunit" and len(one["targets"]) == 1


def test_overview_is_the_home_page_and_leads_on() -> None:
    ini = (dashboards.OUTPUT.parent / "grafana.ini").read_text()
    assert "default_home_dashboard_path = /etc/grafana/dashboards/overview.json\n" in ini
    shown = [one for one in JSONS["overview"]["panels"] if one["type"] not in ("row", "text")]
    led = {link["url"] for one in shown for link in one["links"] if link["url"].startswith("/d/")}
    assert led >= {"/d/api", "/d/slo", "/d/host", "/d/edge"}
    assert all(any(re.fullmatch(r"/d/\w+", link["url"]) for link in one["links"]) for one in shown)
    # One screen of 1080 pixels, the browser's and Grafana's bars taken off.
    assert max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in shown) * (ROW + GAP) <= 900


@pytest.mark.parametrize("alert", EXPRESSIONS)
def test_alert_has_a_panel(alert: str) -> None:
    """On the dashboard that the alert names, a panel shows what it is about, and leads to what to do."""
    (rule,) = (rule for group in GROUPS for rule in group["rules"] if rule.get("alert") == alert)
    board = JSONS[rule["annotations"]["dashboard"].removeprefix("d/")]
    links = [link for one in board["panels"] for link in one.get("links", []) if link["title"] == f"Runbook: {alert}"]
    assert links and all(link["url"] == f"/{panel_path(alert)}" for link in links)


@pytest.mark.parametrize("alert", SECTIONS)
def test_address_is_the_alerts_section(alert: str) -> None:
    number = int(panel_path(alert).removeprefix("d/runbook?viewPanel="))
    (section,) = (one for one in JSONS["runbook"]["panels"] if one["id"] == number)
    assert section["title"] == alert
    assert "**Meaning.**" in section["options"]["content"] and "**What to do.**" in section["options"]["content"]


@pytest.mark.parametrize("one", JSONS["runbook"]["panels"], ids=lambda one: one["title"])
def test_section_can_be_read(one: dict[str, Any]) -> None:
    """Without scrolling at 1280 pixels, and its links lead somewhere, wherever Grafana is."""
    content = one["options"]["content"]
    letters = (1280 - MENU - 4 * GAP) / LETTER
    lines = sum(math.ceil(len(part) / letters) + 0.7 for part in content.split("\n\n"))
    assert lines * 20 <= one["gridPos"]["h"] * (ROW + GAP) - TITLE
    addresses = {panel_path(alert) for alert in SECTIONS}
    assert set(re.findall(r"\]\(([^)]*)\)", content)) <= addresses


@pytest.mark.parametrize(
    ("alert", "number"),
    [
        ("MemoryLow", 0.1),
        ("InodesLow", 0.1),
        ("CertificateExpiring", 1209600),
        ("BackupTooOld", 3600),
        ("Swapping", 256),
    ],
)
def test_bound_is_the_rules(alert: str, number: float) -> None:
    assert bound(alert) == number


def test_pairs_of_windows_are_the_rules() -> None:
    titles = [title for title in BOARDS["slo"].names if title.startswith("Burn rate,")]
    assert titles == [f"Burn rate, {pair}" for pair in ("1h and 5m", "6h and 30m", "1d and 2h", "3d and 6h")]


def test_replicas_have_the_label_that_panels_show() -> None:
    text = (dashboards.OUTPUT.parents[2] / "prometheus/files/prometheus.yml").read_text()
    (api,) = (job for job in yaml.safe_load(text)["scrape_configs"] if job["job_name"] == "api")
    (rule,) = api["relabel_configs"]
    found = re.fullmatch(rule["regex"], "172.18.0.3:8000")
    assert rule["target_label"] == "replica" and found and found[1] == ".3"
