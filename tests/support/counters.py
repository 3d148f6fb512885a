"""The resources that the host's containers use during a block, from the counters of their cgroups."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from cli import host
from tests.support.capped import container
from tests.support.releases import Releases

# Asks the engine, which knows both versions of control groups. Its argument: a name, or nothing for all containers.
PROGRAM = """
import http.client, json, socket, sys

def get(path):
    engine = http.client.HTTPConnection("localhost")
    engine.sock = socket.socket(socket.AF_UNIX)
    engine.sock.connect("/var/run/docker.sock")
    engine.request("GET", path)
    return json.load(engine.getresponse())

found = {}
for one in get("/containers/json"):
    name = one["Names"][0][1:]
    if sys.argv[1:] in ([], [name]):
        stats = get(f"/containers/{one['Id']}/stats?stream=false&one-shot=true")
        memory = stats["memory_stats"]
        cache = memory["stats"].get("total_inactive_file", memory["stats"].get("inactive_file", 0))
        cpu = stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
        found[name] = {"cpu": cpu, "memory": (memory["usage"] - cache) / 2**20}
with open("/proc/stat") as file:
    cpu = [int(one) for one in file.readline().split()[1:]]
with open("/proc/diskstats") as file:
    disks = {line.split()[2]: int(line.split()[12]) / 1000 for line in file}
print(json.dumps({"containers": found, "idle": cpu[3] + cpu[4], "total": sum(cpu), "disks": disks}))
"""
# From this share on, a resource counts as used up.
FULL = 0.85


@dataclass
class Used:
    """What was used during a block, as shares of its time: 1.0 is one core, or one disk, all the time.

    Attributes:
        host: CPU of the whole host.
        cpu: CPU by service.
        disk: the busiest disk.
        machine: share of all of this machine's cores.
        load: CPU of the process that sends the requests.
        memory: MiB at the end of the block, without cached files.
    """

    host: float = 0.0
    cpu: dict[str, float] = field(default_factory=lambda: {"api": 0.0, "edge": 0.0, "others": 0.0})
    disk: float = 0.0
    machine: float = 0.0
    load: float = 0.0
    memory: float = 0.0

    def limit(self, cores: float, memory: float) -> str:
        """What is at its limit, on a host with so many cores and MiB of memory."""
        if self.host >= FULL * cores:
            return f"CPU, most of it {max(self.cpu, key=lambda one: self.cpu[one])}"
        if self.memory >= FULL * memory:
            return "memory"
        if self.disk >= FULL:
            return "disk"
        if self.load >= FULL:
            return "the load's own process"
        return "this machine's CPU" if self.machine >= FULL else "none: the replies wait for each other"


@contextmanager
def used(releases: Releases) -> Iterator[Used]:
    """Its attributes are set when the block ends."""
    found, before, begin, load = Used(), _read(releases), time.monotonic(), time.process_time()
    yield found
    seconds, load = time.monotonic() - begin, time.process_time() - load
    inside, outside = ((one, other) for one, other in zip(before, _read(releases), strict=True))
    (name,) = outside[1]["containers"]
    for one, now in inside[1]["containers"].items():
        if (service := one.split("-")[1]) in {"api", "edge"}:
            found.cpu[service] += (now["cpu"] - inside[0]["containers"].get(one, now)["cpu"]) / seconds
    at, was = outside[1]["containers"][name], outside[0]["containers"][name]
    found.host, found.memory, found.load = (at["cpu"] - was["cpu"]) / seconds, at["memory"], load / seconds
    # The engine and the system, which have no container.
    found.cpu["others"] = found.host - found.cpu["api"] - found.cpu["edge"]
    machine = [one["total"] - one["idle"] for one in outside]
    found.machine = (machine[1] - machine[0]) / max(1, outside[1]["total"] - outside[0]["total"])
    found.disk = max((now - outside[0]["disks"].get(one, now)) / seconds for one, now in outside[1]["disks"].items())


def _read(releases: Releases) -> tuple[dict[str, Any], dict[str, Any]]:
    """The counters of the host's containers, and of the host as a container."""
    inside = host.run(releases.site.target, releases.site.host, "sudo python3 -", 30, PROGRAM)
    assert inside.returncode == 0, inside.stderr
    command = [sys.executable, "-", container(releases)]
    outside = subprocess.run(command, input=PROGRAM, capture_output=True, text=True, check=True, timeout=30)
    return cast(dict[str, Any], json.loads(inside.stdout)), cast(dict[str, Any], json.loads(outside.stdout))
