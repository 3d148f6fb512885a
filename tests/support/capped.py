"""The sandbox's host with fewer cores than its instance type has: what a burstable type may use all the time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.releases import Releases


@contextmanager
def capped(releases: Releases, cores: float) -> Iterator[None]:
    """The host with so many cores for as long as the block runs."""
    host = f"{os.environ['SANDBOX_NAME']}-{releases.site.host.instance_id}"
    # In cgroups of version 1 nothing may be allowed more than what it is in.
    format_ = "'{{.Name}} {{.HostConfig.NanoCpus}}'"
    listed = releases.run(f"docker ps --quiet | xargs docker inspect --format {format_}").stdout
    limits = {
        name: int(nano) / 10**9 for name, nano in map(str.split, listed.splitlines()) if int(nano) > cores * 10**9
    }

    def inside(wanted: dict[str, float]) -> None:
        for name, value in wanted.items():
            assert releases.run(f"docker update --cpus {value} {name}").returncode == 0

    def outside(value: float) -> None:
        subprocess.run(["docker", "update", "--cpus", str(value), host], check=True, capture_output=True)

    inside(dict.fromkeys(limits, cores))
    try:
        outside(cores)
        yield
    finally:
        outside(min(2, os.cpu_count() or 2))
        inside(limits)
