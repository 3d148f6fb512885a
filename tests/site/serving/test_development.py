"""`docker compose up` for development, on the host, which has the Compose plugin."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cli import host

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = (
    "sudo --preserve-env=API_IMAGE,API_PORT,PROMETHEUS_IMAGE,PROMETHEUS_PORT docker compose --project-name development"
)
ROUTE = "\\n@app.get('/reloaded')\\ndef reloaded():\\n    return 'yes'\\n"


@pytest.fixture(scope="module")
def development(up):
    """A checkout on the host, its API and Prometheus up on ports of their own; Grafana's image is not available."""
    parts = ["docker-compose.yml", "api", "roles/prometheus/files", "roles/grafana/files"]
    archive = subprocess.run(
        ["tar", "--create", "--exclude=__pycache__", *parts], cwd=ROOT, capture_output=True, check=True
    )
    unpack = "rm -rf ~/checkout && mkdir ~/checkout && tar --extract --directory ~/checkout"
    subprocess.run(host.ssh(up.target, up.host, unpack), input=archive.stdout, check=True)
    environment = (
        "cd ~/checkout && export API_PORT=18000 PROMETHEUS_PORT=19090"
        " && export $(sudo grep -E '^(API|PROMETHEUS)_IMAGE=' /opt/comentarios/.env)"
    )
    try:
        done = up.ssh(f"{environment} && {COMPOSE} up --detach --no-build --wait api prometheus", timeout=180)
        assert done.returncode == 0, done.stderr
        yield up
    finally:
        gone = up.ssh(f"{environment} && {COMPOSE} down --volumes; rm -rf ~/checkout", timeout=120)
        assert gone.returncode == 0, gone.stderr


def test_contract(development):
    comment = json.dumps({"email": "alice@example.com", "comment": "first post!", "content_id": 1})
    posted = development.ssh(
        f"curl --silent localhost:18000/api/comment/new -X POST -H 'Content-Type: application/json' -d '{comment}'"
    )
    assert json.loads(posted.stdout)["status"] == "SUCCESS"
    listed = development.ssh("curl --silent localhost:18000/api/comment/list/1")
    assert json.loads(listed.stdout) == [{"email": "alice@example.com", "comment": "first post!"}]


def test_reload(development, eventually):
    """A change of the sources is served without a restart by hand."""
    development.ssh(f'printf "{ROUTE}" >> ~/checkout/api/api.py')
    eventually(lambda: development.ssh("curl --silent localhost:18000/reloaded").stdout == "yes", 30)


def test_prometheus_scrapes_the_api(development, eventually):
    query = "curl --silent --get localhost:19090/api/v1/query --data-urlencode 'query=up{job=\"api\"}'"
    eventually(lambda: _values(development.ssh(query).stdout) == ["1"], 60)


def _values(answer: str) -> list[str]:
    return [series["value"][1] for series in json.loads(answer)["data"]["result"]]
