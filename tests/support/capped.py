"""Limits the sandbox's host to the cores and memory of another instance type; a T3 gets its baseline."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.releases import Releases


def container(releases: Releases) -> str:
    """The name of the container that the host is."""
    return f"{os.environ['SANDBOX_NAME']}-{releases.site.host.instance_id}"


@contextmanager
def capped(releases: Releases, cores: float, mebibytes: int = 0) -> Iterator[None]:
    """The host with so many cores, and so much memory, for as long as the block runs; 0: the memory that it has."""
    host = container(releases)
    # In cgroups of version 1 nothing may be allowed more than what it is in.
    format_ = "'{{.Name}} {{.HostConfig.NanoCpus}}'"
    listed = releases.run(f"docker ps --quiet | xargs docker inspect --format {format_}").stdout
    limits = {
        name: int(nano) / 10**9 for name, nano in map(str.split, listed.splitlines()) if int(nano) > cores * 10**9
    }

    def inside(wanted: dict[str, float]) -> None:
        for name, value in wanted.items():
            assert releases.run(f"docker update --cpus {value} {name}").returncode == 0

    def outside(value: float, memory: str) -> None:
        update = ["docker", "update", "--cpus", str(value), "--memory", memory, "--memory-swap", memory, host]
        subprocess.run(update, check=True, capture_output=True)

    inspected = ["docker", "inspect", "--format", "{{.HostConfig.Memory}}", host]
    had = subprocess.run(inspected, check=True, capture_output=True, text=True).stdout.strip()
    inside(dict.fromkeys(limits, cores))
    try:
        outside(cores, f"{mebibytes}m" if mebibytes else had)
        yield
    finally:
        outside(min(2, os.cpu_count() or 2), had)
        inside(limits)
