"""Every alert is tested in both directions and documented."""

import functools
import re
import shutil
from pathlib import Path

import pytest
import yaml

from common.docker import docker
from tests.support.sinks import http_sink

ROOT = Path(__file__).resolve().parents[3]
CONFIGURATION = ROOT / "roles/prometheus/files"
RULE_FILES = sorted((CONFIGURATION / "rules").glob("*.yml"))
TEST_FILES = sorted((Path(__file__).parent / "rules").glob("*.test.yml"))
DAY = "healthy-day.test.yml"
DASHBOARDS = {path.stem for path in (ROOT / "roles/grafana/files/dashboards").glob("*.json")}
# Fires always: there is nothing in which it must not.
ALWAYS = {"Watchdog"}

ALERTS = {
    rule["alert"]: rule
    for path in RULE_FILES
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
# The chapter "Alerts" of the runbook: name of each section, and its text.
CHAPTER = re.search(r"^## Alerts$(.*?)(?=^## |\Z)", (ROOT / "docs/operations.md").read_text(), re.M | re.S).group(1)
SECTIONS = dict(re.findall(r"^### (\S+)$\n(.*?)(?=^### |\Z)", CHAPTER, re.M | re.S))


@functools.cache
def _tested(firing: bool) -> set[str]:
    return {
        check["alertname"]
        for path in TEST_FILES
        for test in yaml.safe_load(path.read_text())["tests"]
        for check in test.get("alert_rule_test", [])
        if bool(check["exp_alerts"]) is firing
    }


def test_there_are_rules():
    assert len(ALERTS) > 20


def test_configuration_is_valid(promtool):
    done = promtool("check", "config", "prometheus.yml", files=CONFIGURATION)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("rules found") == len(RULE_FILES), done.stdout


def _late(line: str) -> bool:
    hours = re.search(r"eval_time: (\d+)h,", line)
    return bool(hours) and int(hours[1]) > 2


def _first_hours_and_day(path: Path) -> None:
    """Takes what is asked after two hours to a file of its own, which is evaluated less often."""
    text = path.read_text()
    lines = text.splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not _late(line)))
    day = "".join(line for line in lines if _late(line) or "eval_time" not in line)
    assert "evaluation_interval: 1m\n" in day
    path.with_name(DAY).write_text(day.replace("evaluation_interval: 1m\n", "evaluation_interval: 5m\n"))


@pytest.fixture(scope="module")
def said(promtool, tmp_path_factory) -> str:
    """promtool on all files in one container, which costs more than most of them."""
    folder = tmp_path_factory.mktemp("rules")
    for part in (CONFIGURATION / "rules", TEST_FILES[0].parent):
        shutil.copytree(part, folder / part.relative_to(ROOT))
    tests = folder / TEST_FILES[0].parent.relative_to(ROOT)
    _first_hours_and_day(tests / "healthy.test.yml")
    files = [str(path.relative_to(folder)) for path in sorted(tests.glob("*.test.yml"))]
    return promtool("test", "rules", *files, files=folder).stdout


@pytest.mark.parametrize("name", [*(path.name for path in TEST_FILES), DAY])
def test_rules(said, name):
    # Another file's failure, on standard error, may come in between.
    assert re.search(rf"(?sm)Unit Testing: +\S+/{re.escape(name)}$(?:(?!Unit Testing).)*^  SUCCESS$", said), said


def test_what_is_sent_names_the_section(prometheus_image, tmp_path):
    """Of the alert, in the runbook."""
    (tmp_path / "rules").mkdir()
    watchdog = CONFIGURATION / "rules/monitoring.yml"
    (tmp_path / "rules/monitoring.yml").write_text(watchdog.read_text())
    with http_sink() as sink:
        text = (CONFIGURATION / "prometheus.yml").read_text()
        text = text.replace("[alertmanager:9093]", f"['127.0.0.1:{sink.port}']", 1)
        text = text.replace("interval: 15s", "interval: 1s").replace("scrape_timeout: 10s", "scrape_timeout: 1s")
        (tmp_path / "prometheus.yml").write_text(text)
        container = docker(
            *("run", "--detach", "--network=host", "--user=0:0", f"--volume={tmp_path}:/etc/prometheus:ro"),
            *(prometheus_image, "--config.file=/etc/prometheus/prometheus.yml", "--web.listen-address=127.0.0.1:0"),
            # Its first attempt comes before it knows the receiver.
            "--rules.alert.resend-delay=1s",
        ).strip()
        try:
            _, _, sent = sink.wait_for(lambda a: a[0] == "/api/v2/alerts", 30)
        finally:
            docker("rm", "--force", "--volumes", container)
    assert {alert["labels"]["runbook"] for alert in sent} == {"docs/operations.md#watchdog"}


def test_every_rule_file_is_tested():
    loaded = {
        (path.parent / file).resolve() for path in TEST_FILES for file in yaml.safe_load(path.read_text())["rule_files"]
    }
    assert loaded == set(RULE_FILES)


@pytest.mark.parametrize("name", ALERTS)
def test_alert_has_both_tests(name):
    assert name in _tested(firing=True), f"{name}: no promtool test in which it fires"
    assert name in ALWAYS or name in _tested(firing=False), f"{name}: no promtool test in which it must not fire"


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_what_to_do(name):
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in {"critical", "warning", "none"}
    annotations = rule["annotations"]
    assert annotations["summary"] and not annotations["summary"].endswith(".")
    assert annotations["description"].endswith(".")
    assert annotations["dashboard"].removeprefix("d/") in DASHBOARDS
    assert set(annotations) == {"summary", "description", "dashboard"}


@pytest.mark.parametrize("name", ALERTS)
def test_alert_is_in_the_runbook(name):
    assert name in SECTIONS, f"docs/operations.md has no section ### {name} in its chapter Alerts"
    for part in ("**Meaning.**", "**First look.**", "**What to do.**"):
        assert part in SECTIONS[name], f"the section {name} lacks {part}"


def test_runbook_has_no_alert_that_is_gone():
    assert set(SECTIONS) == set(ALERTS)
