"""Each fault once, under load: no acknowledged comment is lost, and the site recovers without an operator.

Requests that fail while a part is broken are counted, not forbidden; `make prove` prints the table.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import tables

from tests.support import replies
from tests.support.load import RATE

SECONDS = 60
API = "docker ps --quiet --filter label=com.docker.compose.service=api"
DATA = "/var/lib/comentarios"
ADDRESSES = f"docker inspect --format '{{{{range .NetworkSettings.Networks}}}}{{{{.IPAddress}}}} {{{{end}}}}' $({API})"
PROMETHEUS_READY = "curl --silent --fail http://127.0.0.1:9090/-/ready"


class Fault:
    """One fault under load: measures from its beginning until ten seconds pass without a failed request."""

    def __init__(self, releases):
        self._releases = releases
        self.report: dict[str, Any] = {}

    @contextlib.contextmanager
    def under_load(self, name: str, seconds: float = SECONDS) -> Iterator[None]:
        with self._releases.load(RATE) as report:
            yield
            self._until_well(seconds)
        self.report = report
        first, last = report["first_failure"], report["last_failure"]
        self.recovered = 0.0 if first is None else last - first
        row = {
            "fault": name,
            "requests": sum(report["sent"].values()),
            "failed": sum(report["failed"].values()),
            "2xx with another body": report["other_body"],
            "acknowledged comments missing": report["missing"],
            "seconds from first to last failure": round(self.recovered, 1),
        }
        tables.add_row(row, row.values())
        assert report["missing"] == 0, row
        assert self.recovered <= seconds, (row, report["reasons"])

    def _until_well(self, seconds: float) -> None:
        """Until posts and reads have succeeded twenty times in a row; shows the host where that takes too long."""
        deadline, good = time.monotonic() + seconds, 0
        while good < 20:
            good = good + 1 if self.serves() else 0
            if time.monotonic() > deadline:
                pytest.fail(f"not well again within {seconds} s\n{_state(self._releases, 'edge')}")
            time.sleep(0.2)

    def serves(self) -> bool:
        thread = f"faults-{uuid.uuid4().hex[:8]}"
        with contextlib.suppress(requests.RequestException, AssertionError):
            replies.post(self._releases.edge, thread, "well?", timeout=2)
            return replies.comments(self._releases.edge, thread, timeout=2) == ["well?"]
        return False


@pytest.fixture
def fault(releases) -> Fault:
    return Fault(releases)


@pytest.fixture(scope="module")
def healthy(releases, eventually):
    """Both replicas are there before and after; a fault leaves nothing broken behind."""

    def well() -> bool:
        found = releases.run(ADDRESSES).stdout.split()
        asked = " && ".join(f"curl --silent --fail --max-time 2 http://{one}:8000/readyz" for one in found)
        return len(found) == 2 and releases.run(asked).returncode == 0

    yield lambda: eventually(well, 90)


def _first_process(releases) -> str:
    """The number on the host of a replica's first process, with which all others of its container end."""
    found = releases.run(f"docker inspect --format '{{{{.State.Pid}}}}' $({API} | head -1)").stdout.strip()
    assert found.isdigit() and found != "0", found
    return found


def _prometheus_is_ready(releases, eventually) -> None:
    """Within three minutes, as it may have been killed again and again: the engine waits longer each time."""
    try:
        eventually(lambda: releases.run(PROMETHEUS_READY).returncode == 0, 180)
    except AssertionError:
        pytest.fail(_state(releases, "prometheus"))


def _state(releases, service: str) -> str:
    """What somebody would look at: containers, one's last lines, the engine's journal, the host's processes."""
    container = f"comentarios-{service}-1"
    states = f"docker ps --all; docker inspect --format '{{{{json .State}}}} {{{{.RestartCount}}}}' {container}"
    journal = "sudo journalctl --unit docker --unit comentarios-heal --lines 40 --no-pager"
    host = "uptime; top --batch --iterations 1 | head -20"
    return releases.run(f"{states}; docker logs --tail 20 {container} 2>&1; {journal}; {host}").stdout


def _integrity(releases) -> str:
    opened = f"sqlite3.connect('{DATA}/comentarios.db')"
    check = f"import sqlite3; print({opened}.execute('PRAGMA integrity_check').fetchone()[0])"
    return releases.run(f'sudo python3 -c "{check}"').stdout.strip()


def test_api_process_killed(releases, fault, healthy):
    healthy()
    with fault.under_load("a replica's process killed"):
        assert releases.run(f"sudo kill -KILL {_first_process(releases)}").returncode == 0
    healthy()


def test_replica_hung(releases, fault, healthy, eventually):
    """It accepts and never answers: the edge turns to the other one, the host restarts it."""
    healthy()
    with fault.under_load("a replica hung"):
        hung = _first_process(releases)
        # All of its container's, the first one's children, too.
        assert releases.run(f"sudo pkill -STOP --ns {hung} --nslist pid").returncode == 0
        eventually(lambda: not releases.run(f"ps --no-headers -o pid {hung}").stdout.split(), 60)
    healthy()


def test_dockerd_killed(releases, fault, healthy, eventually):
    """More often than systemd would start it again by itself: containers go on without their engine."""
    with fault.under_load("dockerd killed four times"):
        for _ in range(4):
            assert releases.run("sudo systemctl kill --signal=KILL docker").returncode == 0
            time.sleep(3)
            eventually(lambda: releases.run("docker info --format ok").returncode == 0, 60)
    healthy()


def test_dockerd_stopped(releases, fault, healthy):
    """While the engine and its DNS are away the edge goes on with the addresses that it knows.

    Without the load: nobody takes the containers' log lines meanwhile, and after 64 KiB of them they wait.
    """
    try:
        assert releases.run("sudo systemctl stop docker.socket docker").returncode == 0
        assert releases.run("docker info").returncode != 0
        served = []
        while len(served) < 15:
            served.append(fault.serves())
            time.sleep(0.4)
    finally:
        releases.run("sudo systemctl start docker")
    assert all(served), served
    healthy()


def test_host_rebooted(releases, fault, healthy, eventually):
    """Everything comes back, what has read its configuration again before, too."""
    rules = "/opt/comentarios/prometheus/rules/host.yml"
    read = "curl --silent http://127.0.0.1:9090/metrics | grep ^prometheus_config_last_reload_success_timestamp_seconds"
    releases.run(f"echo '# another' | sudo tee --append {rules}")
    before = releases.run(read).stdout
    reloaded = releases.site.make("release", TAG=releases.live()["tag"], WATCH="0")
    assert reloaded.returncode == 0 and before != releases.run(read).stdout, reloaded.stdout[-2000:]
    with fault.under_load("host rebooted", seconds=120):
        releases.run("sudo systemctl reboot")
        time.sleep(2)
    healthy()
    _prometheus_is_ready(releases, eventually)


def test_power_cut(releases, fault, healthy):
    """Everything on the host ends at once in the middle of writes; then it boots."""
    name = f"{os.environ['SANDBOX_NAME']}-{releases.site.host.instance_id}"
    with fault.under_load("power cut", seconds=120):
        subprocess.run(["docker", "kill", "--signal", "KILL", name], check=True, capture_output=True)
        time.sleep(1)
        subprocess.run(["docker", "start", name], check=True, capture_output=True)
    assert _integrity(releases) == "ok"
    healthy()


def test_disk_full(releases, fault, healthy):
    """Reads go on, POST is refused in JSON, and all is well when there is space again."""
    post = {"email": "a@example.com", "comment": "x" * 9000, "content_id": "full"}
    replies.post(releases.edge, "full", post["comment"])
    free = releases.run(f"df --output=avail --block-size=1 {DATA} | tail -1").stdout.strip()
    fill = f"sudo fallocate --length {free} {DATA}/filler; sudo dd if=/dev/zero of={DATA}/filler2 bs=4k"
    with fault.under_load("disk full"):
        try:
            releases.run(fill)
            # What the log has room for is still taken.
            with requests.Session() as session:
                answers = [session.post(f"{releases.edge}/api/comment/new", json=post, timeout=10) for _ in range(500)]
            listed = requests.get(f"{releases.edge}/api/comment/list/full", timeout=10)
            time.sleep(20)  # longer than two rounds of comentarios-heal
            still = requests.get(f"{releases.edge}/api/comment/list/full", timeout=10)
        finally:
            releases.run(f"sudo rm -f {DATA}/filler {DATA}/filler2")
    refused = [answer for answer in answers if replies.fault("POST", answer.status_code, answer.content)]
    assert refused
    for answer in refused:
        assert answer.status_code in (503, 507), (answer.status_code, answer.text)
        assert answer.json()["status"] and answer.headers["Content-Type"].startswith("application/json")
    assert not any(replies.fault("GET", one.status_code, one.content) for one in (listed, still))
    assert all(kind == "POST" for kind, _, _ in fault.report["failures"]), fault.report["reasons"]
    assert _integrity(releases) == "ok"
    healthy()


def test_memory_taken_by_a_neighbour(releases, fault, healthy):
    """A process on the host takes all of its memory: the kernel ends it, the API goes on or comes back."""
    with fault.under_load("memory exhausted by a neighbour"):
        hog = "b = []\nwhile True: b.append(bytearray(8 << 20))"
        releases.run(f"timeout 40 python3 -c {json.dumps(hog)}", timeout=60)
    healthy()


def test_aws_and_dns_out_of_reach(releases, fault, healthy):
    """The API needs neither: requests go on, a backup fails and says so, and works again afterwards."""
    block = "sudo iptables -I OUTPUT -d {} -p {} -m conntrack --ctstate NEW -j DROP"
    gateway = releases.run("ip route show default | awk '{ print $3 }'").stdout.strip()
    rules = [block.format(f"{gateway}/29", "tcp"), block.format("0.0.0.0/0", "udp --dport 53")]
    try:
        with fault.under_load("ECR, S3 and the DNS out of reach"):
            for rule in rules:
                assert releases.run(rule).returncode == 0
            failed = releases.run("sudo timeout 100 comentarios-backup run", timeout=120)
            assert failed.returncode != 0
    finally:
        for rule in rules:
            releases.run(rule.replace(" -I ", " -D "))
    assert sum(fault.report["failed"].values()) == 0, fault.report["reasons"]
    assert releases.run("sudo comentarios-backup run", timeout=120).returncode == 0


def test_engine_cannot_start_it_again(releases, fault, healthy, eventually):
    """As when runc finds no memory: the engine gives up after one failure, and the host's own timer does not."""
    _prometheus_is_ready(releases, eventually)
    state = "docker inspect --format '{{.State.Status}} {{.State.Error}}' comentarios-prometheus-1"
    with fault.under_load("the engine could not start a container again"):
        try:
            assert releases.run("sudo chmod a-x /usr/sbin/runc && sudo pkill -KILL --exact prometheus").returncode == 0
            eventually(lambda: re.match(r"exited \S", releases.run(state).stdout), 30)
        finally:
            releases.run("sudo chmod a+x /usr/sbin/runc")
        _prometheus_is_ready(releases, eventually)
    assert sum(fault.report["failed"].values()) == 0, fault.report["reasons"]


def test_prometheus_hung(releases, fault, healthy, eventually):
    """It accepts and never answers: who is not watched by it must not depend on somebody who looks."""
    _prometheus_is_ready(releases, eventually)
    with fault.under_load("Prometheus hung"):
        assert releases.run("sudo pkill -STOP --exact prometheus").returncode == 0
        eventually(lambda: releases.run(f"{PROMETHEUS_READY} --max-time 2").returncode == 0, 90)
    assert sum(fault.report["failed"].values()) == 0, fault.report["reasons"]


def test_prometheus_disk_gone(releases, fault, healthy, eventually):
    """The API does not notice; Prometheus begins anew."""
    volume = "/var/lib/docker/volumes/comentarios_prometheus-data/_data"
    _prometheus_is_ready(releases, eventually)
    with fault.under_load("Prometheus' disk gone"):
        gone = f"sudo find {volume} -mindepth 1 -delete; sudo kill -KILL $(pgrep --exact prometheus)"
        assert releases.run(gone).returncode == 0
    assert sum(fault.report["failed"].values()) == 0, fault.report["reasons"]
    _prometheus_is_ready(releases, eventually)
