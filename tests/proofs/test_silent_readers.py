"""Five hundred clients request a long thread and do not read: others are served, and memory stays bounded."""

from __future__ import annotations

import ipaddress
import json
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import tables

from tests.support import replies
from tests.support.clients import Client, SilentReaders
from tests.support.releases import Releases

READERS, COMMENTS, SECONDS = 500, 1_500, 45
MIB = 2**20
GOALS = {"p99": 250.0, "api": 120.0, "edge": 256.0}
# Run on the host: the most that each container's processes and the kernel for them have held, without what it only
# caches, as `docker stats` shows it.
SAMPLER = """
import json, pathlib, sys, time
ids, groups = dict(line.split() for line in sys.argv[1].splitlines()), pathlib.Path("/sys/fs/cgroup")
folders = {name: next(path.parent for path in groups.glob(f"**/*{one}*/memory.stat")) for name, one in ids.items()}
most, end = dict.fromkeys(ids, 0), time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    for name, folder in folders.items():
        usage = [folder / one for one in ("memory.usage_in_bytes", "memory.current")]
        held = int(next(one for one in usage if one.exists()).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        most[name] = max(most[name], held - int(stat.get("total_inactive_file", stat["inactive_file"])))
    time.sleep(0.1)
print(json.dumps(most))
"""


@pytest.fixture
def addresses(releases: Releases) -> Iterator[list[str]]:
    """Two more addresses of this machine, on the host's network."""
    host = ipaddress.ip_interface(f"{releases.site.host.address}/24")
    route = subprocess.run(["ip", "--json", "route", "get", str(host.ip)], capture_output=True, check=True, text=True)
    device = json.loads(route.stdout)[0]["dev"]
    mine = [str(host.network[number]) for number in (-10, -11)]
    try:
        for one in mine:
            subprocess.run(["ip", "address", "replace", f"{one}/32", "dev", device], check=True)
        yield mine
    finally:
        for one in mine:
            subprocess.run(["ip", "address", "delete", f"{one}/32", "dev", device], check=False)


def _containers(releases: Releases) -> dict[str, str]:
    """Replicas and edge by name: id, when it was started, how often it was restarted."""
    chosen = "--filter label=com.docker.compose.service={}"
    listed = "; ".join(f"docker ps --quiet --no-trunc {chosen.format(name)}" for name in ("api", "edge"))
    format_ = "{{.Name}} {{.Id}} {{.State.StartedAt}} {{.RestartCount}}"
    done = releases.run(f"docker inspect --format {shlex.quote(format_)} $({listed})")
    return {line.split()[0].strip("/"): line.split(maxsplit=1)[1] for line in done.stdout.splitlines()}


def test_readers_that_do_not_read(releases: Releases, addresses: list[str], eventually: Callable[..., object]) -> None:
    client, thread = Client(releases.site.host.address), f"long-{uuid.uuid4().hex[:8]}"
    for number in range(COMMENTS):
        replies.post(releases.edge, thread, f"{number:05} {'x' * 9_994}")
        time.sleep(0.008)  # below the limits of one client's posts, and of their bytes
    with releases.load() as alone:
        time.sleep(10)
    before = _containers(releases)
    ids = "\n".join(f"{name} {values.split()[0]}" for name, values in before.items())
    sample = f"sudo python3 -c {shlex.quote(SAMPLER)} {shlex.quote(ids)} {SECONDS}"
    with ThreadPoolExecutor(1) as pool, SilentReaders(client, thread, addresses, READERS // 2) as readers:
        sampled = pool.submit(releases.run, sample, SECONDS + 60)
        time.sleep(2)
        with releases.load() as report:
            time.sleep(SECONDS - 5)
        most = json.loads(sampled.result().stdout)
    after = _containers(releases)
    replica = max(size for name, size in most.items() if "-api-" in name) / MIB
    edge = max(size for name, size in most.items() if "-edge-" in name) / MIB
    failed, sent = sum(report["failed"].values()), sum(report["sent"].values())
    median, p99, usual = 1000 * report["p50"], 1000 * report["p99"], 1000 * alone["p99"]
    restarted = sorted(name for name in before if after.get(name) != before[name])
    lines = [
        f"| {READERS} readers that do not read, {readers.asked:,} requests | measured | goal |",
        "|---|---|---|",
        f"| others' requests that fail | {failed} of {sent:,} | 0 |",
        f"| others' p99 | {p99:.0f} ms (median {median:.0f}; {usual:.0f} without readers) | ≤ {GOALS['p99']:.0f} ms |",
        f"| a replica's memory at the peak | {replica:.0f} MiB | ≤ {GOALS['api']:.0f} MiB |",
        f"| the edge's memory at the peak | {edge:.0f} MiB | its limit, {GOALS['edge']:.0f} MiB |",
        f"| restarts | {len(restarted)} | 0 |",
    ]
    tables.add(*lines)
    print("\n".join(lines), file=sys.stderr)
    assert not restarted and failed == 0 and report["missing"] == 0, (restarted, report["reasons"])
    assert replica <= GOALS["api"] and edge <= GOALS["edge"], most
    assert readers.refused < readers.asked / 100
    # Nothing is left of them soon after.
    eventually(lambda: replies.comments(releases.edge, thread), 30)
