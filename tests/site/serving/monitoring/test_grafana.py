"""Grafana through its own API and in a browser, if its image is available; its password everywhere."""

import base64
import html
import json
import re

import boto3
import pytest

from tests.support.browser import Browser
from tests.support.expected_empty import EXPECTED_EMPTY
from tests.support.monitoring import http
from tests.support.substitution import queries

PASSWORD_FILE = "/opt/comentarios/grafana/secrets/admin_password"
PARAMETER = "/comentarios/grafana/admin_password"


@pytest.fixture(scope="module")
def password(up) -> str:
    read = up.ssh(f"sudo cat {PASSWORD_FILE}")
    assert read.returncode == 0, read.stderr
    return read.stdout


@pytest.fixture(scope="module")
def login(password) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"admin:{password}".encode()).decode()}


def test_password_is_the_parameters(up, password, monkeypatch):
    for name, value in up.target.variables.items():
        monkeypatch.setenv(name, value)
    parameter = boto3.Session().client("ssm").get_parameter(Name=PARAMETER, WithDecryption=True)["Parameter"]
    assert parameter["Type"] == "SecureString"
    assert parameter["Value"] == password
    assert len(password) >= 32 and password.isalnum()


def test_password_is_readable_by_nobody_else(up, password):
    stat = up.ssh(f"sudo stat -c '%a %u' {PASSWORD_FILE}; sudo stat -c '%a %u' {PASSWORD_FILE.rpartition('/')[0]}")
    # The folder is root's, so that Grafana can plant nothing there.
    # Its user is of root's group, as in upstream's image.
    assert stat.stdout.split("\n")[:2] == ["400 472", "750 0"], stat.stdout
    shown = up.ssh(
        "docker ps --all --quiet | xargs docker inspect; cat /opt/comentarios/.env; sudo journalctl --no-pager"
    )
    assert shown.returncode == 0 and "comentarios-api" in shown.stdout
    assert password not in shown.stdout


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic " + base64.b64encode(b"admin:admin").decode()}])
def test_strangers_are_refused(grafana, headers):
    assert http(f"{grafana}/api/org", **headers)[0] == 401


def test_provisioning(grafana, login, boards):
    for uid in ("prometheus", "alertmanager"):
        status, body = http(f"{grafana}/api/datasources/uid/{uid}", **login)
        assert status == 200 and json.loads(body)["readOnly"], body
    status, body = http(f"{grafana}/api/datasources/uid/prometheus/health", **login)
    assert status == 200, body
    for uid, board in boards.items():
        status, body = http(f"{grafana}/api/dashboards/uid/{uid}", **login)
        assert status == 200, body
        found = json.loads(body)
        assert found["meta"]["provisioned"] and found["meta"]["folderTitle"] == "Comentarios"
        assert found["dashboard"]["title"] == board["title"]


def test_queries_through_grafana(grafana, login, boards, traffic, failures, history):
    empty = []
    for uid, board in boards.items():
        for query in queries(uid, board):
            asked = {
                "refId": query.ref,
                "datasource": {"type": "prometheus", "uid": "prometheus"},
                "expr": query.expr,
                "instant": query.instant,
                "range": not query.instant,
                "format": "table" if query.instant else "time_series",
                "intervalMs": query.step * 1000,
                "maxDataPoints": 1000,
            }
            body = {"queries": [asked], "from": f"now-{query.seconds}s", "to": "now"}
            status, answer = http(f"{grafana}/api/ds/query", body, **login)
            assert status == 200, f"{query}: {answer}"
            frames = json.loads(answer)["results"][query.ref].get("frames", [])
            values = [value for frame in frames for column in frame["data"]["values"] for value in column]
            if not values and query.key not in EXPECTED_EMPTY:
                empty.append(query)
    assert not empty


def test_log_has_no_error(up, grafana):
    log = up.ssh("docker ps --quiet --filter label=com.docker.compose.service=grafana | xargs docker logs 2>&1")
    assert log.returncode == 0
    assert not re.findall(r".*(?:level=error|lvl=eror|\"level\":\"error\").*", log.stdout)


@pytest.mark.parametrize("uid", ["overview", "api", "slo", "host", "edge", "runbook"])
def test_browser_shows_every_panel(grafana, login, boards, browser: Browser, traffic, failures, history, uid):
    page = browser.page(f"{grafana}/d/{uid}?kiosk", login)
    panels = [panel["title"] for panel in boards[uid]["panels"] if panel["type"] != "row" and panel["title"]]
    missing = [title for title in panels if html.escape(title) not in page]
    assert not missing, missing
    empty = {panel for board, panel, _ in EXPECTED_EMPTY if board == uid}
    assert page.count("No data") <= len(empty)
    assert "Panel status error" not in page
