"""The containers' rights, by the engine and by the kernel."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

SERVICE = "com.docker.compose.service"


@pytest.fixture(scope="module")
def containers(up) -> list[tuple[str, dict[str, Any]]]:
    """Every running container of the stack: its service, and what the engine says of it."""
    done = up.ssh("docker inspect $(docker ps --quiet --filter label=com.docker.compose.project=comentarios)")
    assert done.returncode == 0, done.stderr
    found = [(one["Config"]["Labels"][SERVICE], one) for one in json.loads(done.stdout)]
    assert {service for service, _ in found} >= {"api", "edge", "prometheus", "alertmanager", "node-exporter"}
    return found


def test_settings(containers):
    for service, one in containers:
        host = one["HostConfig"]
        assert one["Config"]["User"].split(":")[0] not in {"", "0", "root"}, service
        assert host["ReadonlyRootfs"] and not host["Privileged"], service
        assert host["CapDrop"] == ["ALL"], service
        assert not host["CapAdd"], service
        assert "no-new-privileges:true" in host["SecurityOpt"], service
        assert host["Memory"] > 0 and host["PidsLimit"] > 0, f"{service} has no bound"
        assert not any("docker.sock" in mount["Source"] for mount in one["Mounts"]), service
        published = {b["HostIp"] for bindings in (host["PortBindings"] or {}).values() for b in bindings}
        assert service == "edge" or published <= {"127.0.0.1"}, f"{service} is published on {published}"


def test_images_are_named_by_their_digest(containers):
    """Those that the sandbox builds, whatever a registry has under a tag later. The API's tags are not overwritten."""
    ours = {
        service: one["Config"]["Image"]
        for service, one in containers
        if "/comentarios-sandbox/" in one["Config"]["Image"]
    }
    assert all(re.search(r":[^:/@]+@sha256:[0-9a-f]{64}$", image) for image in ours.values()), ours


def test_each_service_is_a_user_of_its_own(up, containers):
    """So that none sees another's processes: the node exporter's is in the host's namespaces, and finds Prometheus."""
    users = {service: one["Config"]["User"].split(":")[0] for service, one in containers}
    assert len(set(users.values())) == len(users), users
    assert not set(users.values()) & {"0", "65534"}, users
    pid = next(one["State"]["Pid"] for service, one in containers if service == "prometheus")
    for service, listed in (("prometheus", True), ("node-exporter", False)):
        uid = users[service]
        look = f"sudo setpriv --reuid={uid} --regid={uid} --clear-groups ls /proc/{pid}/root/prometheus"
        assert (up.ssh(look).returncode == 0) == listed, service


def test_the_edge_has_its_share_of_the_processor(containers):
    """More than all others that run by default together; and monitoring never has all of it."""
    host = {one["Id"]: (service, one["HostConfig"]) for service, one in containers}.values()
    shares = [(service, settings["CpuShares"]) for service, settings in host]
    assert all(share > 0 for _, share in shares), shares
    edge = sum(share for service, share in shares if service == "edge")
    assert edge > sum(share for service, share in shares if service != "edge"), shares
    assert all(settings["NanoCpus"] > 0 for service, settings in host if service not in {"edge", "api"})


def test_the_edge_does_not_fill_the_disk(up):
    """It writes in one place, beside its socket, and no more than a MiB; its certificates it reads."""
    write = "docker exec comentarios-edge-1 sh -c 'head --bytes 2M /dev/zero > {0}/x; code=$?; rm -f {0}/x; exit $code'"
    full = up.ssh(write.format("/run/haproxy"))
    assert full.returncode and "No space left on device" in full.stderr
    for folder in ("/certificates", "/etc/haproxy", "/tmp", "/var/lib/haproxy", "/run"):
        assert "Read-only file system" in up.ssh(write.format(folder)).stderr, folder
    assert up.make("releases").returncode == 0


def test_processes(up, containers):
    """No process has a capability, or may get one; each is somebody's but root's."""
    for service, one in containers:
        status = up.ssh(f"sudo cat /proc/{one['State']['Pid']}/task/*/status").stdout
        fields = [line.split() for line in status.splitlines()]
        values = {name: {line[1] for line in fields if line[0] == name} for name in ("CapEff:", "NoNewPrivs:", "Uid:")}
        assert {int(bits, 16) for bits in values["CapEff:"]} == {0}, (service, values)
        assert values["NoNewPrivs:"] == {"1"}, (service, values)
        assert "0" not in values["Uid:"], service


def test_the_api_dies_last(containers):
    """Under memory pressure the kernel ends the highest score first: Grafana, monitoring, and last API and edge."""
    scores = {service: one["HostConfig"]["OomScoreAdj"] for service, one in containers}
    assert scores.pop("api") == scores.pop("edge") == 0
    assert all(score >= 600 for score in scores.values()), scores
