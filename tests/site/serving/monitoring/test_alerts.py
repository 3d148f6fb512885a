"""From a stopped container to a delivered message, and a bad configuration."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.config import Config
from tests.support.monitoring import outage
from tests.support.sinks import Sink, http_sink
from tests.support.site import ROOT

CONTAINERS = "docker ps --quiet --no-trunc --filter label=com.docker.compose.project=comentarios"
STARTED = f"{CONTAINERS} | xargs docker inspect --format '{{{{.Name}}}} {{{{.State.StartedAt}}}}' | sort"


def _apply(up, role: str, roles: Path = ROOT / "roles", **variables: object) -> subprocess.CompletedProcess:
    """Applies a role of the monitoring to the host, as somebody does who changes a setting."""
    return up.play("--tags", role, env={"ANSIBLE_ROLES_PATH": str(roles)}, **variables)


def _started(up) -> str:
    done = up.ssh(STARTED)
    assert done.returncode == 0 and "prometheus" in done.stdout, done.stderr
    return done.stdout


def _receiver(sink: Sink) -> dict:
    """The receiver, and waits short enough for a test."""
    return {
        "alertmanager_webhooks": [{"url": f"http://{Config().gateway}:{sink.port}/hook", "token": "t0ken"}],
        "alertmanager_group_wait": "2s",
        "alertmanager_group_interval": "5s",
    }


@pytest.fixture(scope="module")
def webhook(up) -> Iterator[Sink]:
    """A receiver on the address of this machine that the host can reach, set up by the role and taken out again."""
    with http_sink(Config().gateway) as sink:
        before = _started(up)
        done = _apply(up, "alertmanager", **_receiver(sink))
        assert done.returncode == 0, done.stdout
        assert _started(up) == before, "a container was started anew to take its configuration"
        try:
            yield sink
        finally:
            done = _apply(up, "alertmanager")
            assert done.returncode == 0, done.stdout
    left = up.ssh("sudo ls /opt/comentarios/alertmanager/secrets")
    assert (left.returncode, left.stdout) == (0, ""), "secrets of a receiver that is gone"


def _alert(name: str, status: str):
    return lambda arrival: arrival[2]["groupLabels"]["alertname"] == name and arrival[2]["status"] == status


def test_outage_reaches_the_webhook(up, webhook, record_property):
    began = time.monotonic()
    with outage(up):
        # Longer than group_interval: a group that an outage before has left is told of later.
        _, headers, body = webhook.wait_for(_alert("ApiDown", "firing"), 420)
        fired = time.monotonic() - began
    assert headers["Authorization"] == "Bearer t0ken"
    (alert,) = body["alerts"]
    assert alert["labels"]["severity"] == "critical"
    assert alert["labels"]["host"] == up.host.name
    assert alert["labels"]["runbook"] == "docs/operations.md#apidown"

    began = time.monotonic()
    webhook.wait_for(_alert("ApiDown", "resolved"), 180)
    resolved = time.monotonic() - began
    # What the outage explains is not told as well.
    silenced = [a for _, _, b in webhook.received for a in b["alerts"] if a["labels"].get("alertname") == "TargetDown"]
    assert not [a for a in silenced if a["labels"]["job"] == "api"]
    record_property("seconds", {"fired": fired, "resolved": resolved})
    print(f"ApiDown arrived {fired:.0f} s after the stop, its end {resolved:.0f} s after the start")


def test_second_run_changes_nothing(up, webhook):
    done = _apply(up, "alertmanager", **_receiver(webhook))
    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout, done.stdout


def test_broken_configuration_changes_nothing(up, prometheus, tmp_path):
    shutil.copytree(ROOT / "roles", tmp_path / "roles")
    broken = "groups: [{name: broken, rules: [{alert: X, expr: 'rate(up'}]}]\n"
    (tmp_path / "roles/prometheus/files/rules/host.yml").write_text(broken)
    sums = "cd /opt/comentarios/prometheus && sudo find . -type f -exec sha256sum {} + | sort"
    before, started = up.ssh(sums).stdout, _started(up)
    assert "prometheus.yml" in before
    done = _apply(up, "prometheus", roles=tmp_path / "roles")
    assert done.returncode != 0, done.stdout
    assert "FAILED" in done.stdout, "promtool's reason is not shown"
    assert up.ssh(sums).stdout == before
    assert _started(up) == started
    (reload,) = prometheus.instant("prometheus_config_last_reload_successful")
    assert reload["value"][1] == "1"


def test_nothing_is_open_to_the_outside(up):
    """What listens on the host beyond loopback and the containers' own bridges: SSH and the edge."""
    done = up.ssh("sudo ss -Hlnt")
    assert done.returncode == 0, done.stderr
    listening = [line.split()[3].rpartition(":") for line in done.stdout.splitlines()]
    inside = ("127.", "[::1]", "172.17.0.1")
    outside = {int(port) for address, _, port in listening if not address.startswith(inside)}
    assert outside <= {22, 80, 443}, outside
