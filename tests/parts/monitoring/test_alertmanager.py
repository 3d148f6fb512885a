"""Alertmanager's configuration for each kind of receiver: rendered, checked by amtool, and used."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from common.docker import docker
from tests.support import waiting
from tests.support.sinks import http_sink, smtp_sink

ROOT = Path(__file__).resolve().parents[3]
EMAIL = {"to": "ops@example.com", "from": "comentarios@example.com", "smarthost": "smtp.example.com:587"}
LOGIN = {"username": "comentarios", "password": "p4ss"}
SLACK = {"channel": "#alerts", "webhook_url": "https://hooks.example.com/T/secret"}
GOOD = {
    "none": {},
    "email": {"alertmanager_email": EMAIL},
    "email_with_login": {"alertmanager_email": EMAIL | LOGIN},
    "slack": {"alertmanager_slack": SLACK},
    "webhooks": {"alertmanager_webhooks": [{"url": "https://a.example.com/x"}, {"url": "http://b", "token": "t0ken"}]},
    "watchdog": {"alertmanager_watchdog_url": "https://switch.example.com/ping"},
    "every_kind": {
        "alertmanager_email": EMAIL | LOGIN,
        "alertmanager_slack": SLACK,
        "alertmanager_webhooks": [{"url": "https://a.example.com/x", "token": "t0ken"}],
        "alertmanager_watchdog_url": "https://switch.example.com/ping",
    },
}
BAD = {
    "email_without_from": ({"alertmanager_email": {"to": "a@b"}}, "alertmanager_email needs to, from and smarthost"),
    "email_without_password": (
        {"alertmanager_email": EMAIL | {"username": "u"}},
        "username and password together or not at all",
    ),
    "slack_without_url": ({"alertmanager_slack": {"channel": "#a"}}, "needs channel and webhook_url"),
    "retention_too_large": ({"prometheus_retention_share": 0.9}, "prometheus_retention_share (0.9) to 0.01 to 0.5"),
    "interval_without_unit": ({"alertmanager_group_interval": "60"}, "is 60: set it to a duration like 1m"),
    "retention_without_unit": ({"prometheus_retention_time": "30"}, "_retention_time (30) to a time like 30d"),
}
PLAY = """
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: prometheus, tasks_from: preflight.yml, public: true}
    - ansible.builtin.include_role: {name: alertmanager, tasks_from: preflight.yml, public: true}
    - host_files:
        root: "{{ out }}"
        files: "{{ _alertmanager_secrets | combine({'alertmanager.yml': lookup('template', source)}) }}"
"""


def _render(folder: Path, cases: dict[str, dict]) -> subprocess.CompletedProcess:
    """Render each case as if it were a host, into a folder of its name."""
    common = {
        "ansible_python_interpreter": sys.executable,
        "grafana_enabled": False,
        "stack_domain": "",
        "source": str(ROOT / "roles/alertmanager/templates/alertmanager.yml.j2"),
    }
    hosts = {name: common | variables | {"out": str(folder / name)} for name, variables in cases.items()}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    (folder / "play.yml").write_text(PLAY)
    (folder / "ansible.cfg").write_text(f"[defaults]\nroles_path={ROOT / 'roles'}\nlibrary={ROOT / 'library'}\n")
    folder.chmod(0o755)
    return subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "hosts.yml", "play.yml"],
        cwd=folder,
        env=os.environ | {"ANSIBLE_CONFIG": str(folder / "ansible.cfg")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alertmanager")
    done = _render(folder, GOOD)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_configurations_are_valid(rendered, amtool):
    """All in one container, which costs more than the check."""
    files = [f"{case}/alertmanager.yml" for case in GOOD]
    done = amtool("check-config", *files, files=rendered)
    assert done.returncode == 0, done.stdout
    assert re.findall(r"^Checking '(.+)'  SUCCESS$", done.stdout, re.MULTILINE) == files, done.stdout


@pytest.mark.parametrize("case", GOOD)
def test_no_secret_stands_in_the_configuration(rendered, case):
    text = (rendered / case / "alertmanager.yml").read_text()
    for secret in (LOGIN["password"], SLACK["webhook_url"], "t0ken", "switch.example.com", "a.example.com"):
        assert secret not in text


def test_receivers(rendered):
    def kinds(case: str) -> list[str]:
        receivers = yaml.safe_load((rendered / case / "alertmanager.yml").read_text())["receivers"]
        return [f"{r['name']}:{kind}" for r in receivers for kind in r if kind != "name"]

    assert kinds("none") == []
    assert kinds("email") == ["default:email_configs"]
    assert kinds("slack") == ["default:slack_configs"]
    assert kinds("watchdog") == ["watchdog:webhook_configs"]
    assert kinds("every_kind") == [
        "default:email_configs",
        "default:slack_configs",
        "default:webhook_configs",
        "watchdog:webhook_configs",
    ]


def test_bad_settings_are_refused(tmp_path):
    done = _render(tmp_path, {name: variables for name, (variables, _) in BAD.items()})
    assert done.returncode != 0
    words = " ".join(done.stdout.split())
    for name, (_, message) in BAD.items():
        assert not (tmp_path / name / "alertmanager.yml").exists(), f"{name} was accepted"
        assert message in words, f"{name}: not said in\n{done.stdout}"


class Alertmanager:
    """The real one, in a container on the machine's loopback."""

    def __init__(self, image: str, folder: Path):
        self.container = docker(
            *("run", "--detach", "--network=host", "--user=0:0", f"--volume={folder}:/etc/alertmanager:ro"),
            *(image, "--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"),
            *("--web.listen-address=127.0.0.1:0", "--cluster.listen-address="),
        ).strip()

    def wait(self) -> None:
        try:
            # The port that it took stands in its log.
            listening = waiting.eventually(lambda: re.search(r"Listening on.*address=(\S+)", self.log()), 20, 0.2)
            self.url = f"http://{listening[1]}"
            waiting.eventually(lambda: urllib.request.urlopen(f"{self.url}/-/ready", timeout=2).read(), 20, 0.2)
        except (AssertionError, OSError):
            raise AssertionError(f"Alertmanager did not start:\n{self.log()}") from None

    def post(self, *alerts: dict) -> None:
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=5):
            pass

    def log(self) -> str:
        done = subprocess.run(["docker", "logs", self.container], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def remove(self) -> None:
        subprocess.run(["docker", "rm", "--force", "--volumes", self.container], capture_output=True, check=False)


def _alert(name: str, ends: timedelta = timedelta(hours=1), **labels: str) -> dict:
    return {
        "labels": {
            "alertname": name,
            "host": "web1",
            "severity": "critical",
            # Prometheus adds it to what it sends.
            "runbook": f"docs/operations.md#{name.lower()}",
            **labels,
        },
        "annotations": {
            "summary": f"{name} summary",
            "description": f"{name} description.",
            "dashboard": "d/api",
        },
        "endsAt": (datetime.now(UTC) + ends).isoformat(),
    }


def test_messages_arrive(tmp_path, alertmanager_image):
    with http_sink() as hook, smtp_sink() as mail:
        address = f"http://127.0.0.1:{hook.port}"
        variables = {
            "alertmanager_email": EMAIL | {"smarthost": f"127.0.0.1:{mail.port}", "require_tls": False},
            "alertmanager_slack": {"channel": "#alerts", "webhook_url": f"{address}/slack"},
            "alertmanager_webhooks": [{"url": f"{address}/hook", "token": "t0ken"}],
            "alertmanager_watchdog_url": f"{address}/switch",
            "alertmanager_runbook_url": "https://git.example.com/",
            "alertmanager_grafana_url": "https://grafana.example.com/",
            "alertmanager_group_wait": "1s",
            "alertmanager_group_interval": "2s",
        }
        done = _render(tmp_path, {"web1": variables})
        assert done.returncode == 0, done.stdout + done.stderr
        alertmanager = Alertmanager(alertmanager_image, tmp_path / "web1")
        try:
            alertmanager.wait()
            alertmanager.post(
                _alert("Watchdog", severity="none"),
                _alert("ApiDown", job="api"),
                _alert("TargetDown", job="api", severity="warning"),
                _alert("TargetDown", job="node", severity="warning"),
            )

            def hooked(name: str, status: str):
                return lambda a: (
                    a[0] == "/hook" and a[2]["groupLabels"]["alertname"] == name and a[2]["status"] == status
                )

            _, headers, _ = hook.wait_for(hooked("ApiDown", "firing"), 20)
            assert headers["Authorization"] == "Bearer t0ken"
            # The down API explains its target, not the node exporter.
            _, _, body = hook.wait_for(hooked("TargetDown", "firing"), 20)
            assert [alert["labels"]["job"] for alert in body["alerts"]] == ["node"]

            _, _, slack = hook.wait_for(lambda a: a[0] == "/slack" and "ApiDown" in json.dumps(a[2]), 20)
            message = slack["attachments"][0]
            assert message["title"] == "[FIRING] ApiDown web1"
            assert message["text"].strip().splitlines() == [
                "critical: ApiDown summary",
                "ApiDown description.",
                "Runbook: https://git.example.com/docs/operations.md#apidown",
                "Dashboard: https://grafana.example.com/d/api",
            ]
            _, receivers, text = mail.wait_for(lambda a: "ApiDown" in a[2], 20)
            assert receivers == ["<ops@example.com>"]
            assert "Subject: [FIRING] ApiDown web1" in text
            assert "https://git.example.com/docs/operations.md#apidown" in text.replace("=\r\n", "")

            hook.wait_for(lambda a: a[0] == "/switch" and a[2]["commonLabels"]["alertname"] == "Watchdog", 20)
            assert not any(a[0] != "/switch" and "Watchdog" in json.dumps(a[2]) for a in hook.received)

            alertmanager.post(_alert("ApiDown", ends=timedelta(seconds=-1), job="api"))
            hook.wait_for(hooked("ApiDown", "resolved"), 20)
            mail.wait_for(lambda a: "Subject: [RESOLVED] ApiDown web1" in a[2], 20)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{alertmanager.log()}") from error
        finally:
            alertmanager.remove()
