"""The host of `make up`: the edge from outside, the monitoring through SSH tunnels.

The session fixtures `up` and `eventually` are those of tests/conftest.py.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import host as hosts
from tests.support import ports
from tests.support.browser import Browser
from tests.support.monitoring import Prometheus, Traffic, http, outage
from tests.support.site import NOT_RUN

ROOT = Path(__file__).resolve().parents[4]
# Ports on the host's own loopback.
SERVICES = {"prometheus": 9090, "alertmanager": 9093, "grafana": 3000}


@pytest.fixture(scope="module")
def tunnel(up, eventually) -> Iterator[dict[str, str]]:
    """The services' URLs on this machine by name, through SSH."""

    def start(free: list[int]) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
        here = [f"127.0.0.1:{port}" for port in free]
        command = hosts.forwards(up.target, up.host, dict(zip(here, SERVICES.values(), strict=True)))
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(SERVICES, free, strict=True)}
        try:
            eventually(lambda: process.poll() is not None or http(f"{urls['prometheus']}/-/ready")[0] == 200, 60)
        except AssertionError:
            process.kill()
            raise
        if process.poll() is not None:
            raise ports.Ended(f"ssh ended with {process.returncode}")
        return process, urls

    process, urls = ports.on_free_ports(start, len(SERVICES))
    yield urls
    process.terminate()
    process.wait(timeout=10)


@pytest.fixture(scope="module")
def prometheus(tunnel) -> Prometheus:
    return Prometheus(tunnel["prometheus"])


@pytest.fixture(scope="module")
def traffic(up) -> Iterator[Traffic]:
    """Requests that succeed and requests with 4xx, for as long as the tests run."""
    running = Traffic(up.edge)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def failures(up, eventually, traffic) -> None:
    """Answers with a 5xx: the edge's, with no replica to pass a request to, and the API's, with a locked database."""
    with outage(up):
        status = eventually(lambda: http(f"{up.edge}/api/comment/list/1")[0], 20)
        assert 500 <= status <= 599, status
    eventually(lambda: http(f"{up.edge}/readyz")[0] == 200, 60)
    # Longer than a write waits for the lock.
    hold = "import sqlite3,time;d=sqlite3.connect('/var/lib/comentarios/comentarios.db');d.execute('BEGIN IMMEDIATE')"
    before = len(traffic.statuses)
    locked = up.ssh(f'sudo python3 -c "{hold};time.sleep(12)"')
    assert locked.returncode == 0, locked.stderr
    assert any(status >= 500 for status in traffic.statuses[before:]), "no write failed while the database was locked"


@pytest.fixture(scope="module")
def history(up, eventually, prometheus) -> None:
    """A release, made now where the host has seen none, and a backup."""
    made = up.ssh("sudo comentarios-backup run", timeout=120)
    assert made.returncode == 0, made.stderr
    metric = "comentarios_release_timestamp_seconds"
    if not prometheus.instant(metric):
        done = up.make("release")
        assert done.returncode == 0, done.stdout
        eventually(lambda: prometheus.instant(metric), 60)


@pytest.fixture(scope="module")
def grafana(up, eventually, tunnel) -> str:
    """Grafana's URL; tests that need it are reported as not run where the host has no Grafana."""
    running = up.ssh("docker ps --quiet --filter label=com.docker.compose.service=grafana")
    assert running.returncode == 0, running.stderr
    if not running.stdout.strip():
        pytest.skip(f"{NOT_RUN}no Grafana on the host (its image is not available here)")
    eventually(lambda: http(f"{tunnel['grafana']}/api/health")[0] == 200, 60)
    return tunnel["grafana"]


@pytest.fixture(scope="module")
def boards() -> dict[str, dict]:
    """The dashboards by uid, as they lie in the role."""
    files = (ROOT / "roles/grafana/files/dashboards").glob("*.json")
    return {path.stem: json.loads(path.read_text()) for path in files}


@pytest.fixture(scope="module")
def browser() -> Browser:
    found = Browser.find()
    if not found:
        pytest.skip(f"{NOT_RUN}no Chromium on this machine (apt-get install chromium)")
    return found
