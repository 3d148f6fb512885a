"""The sandbox's host with fewer cores than its instance type has: what a burstable type may use for ever."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.releases import Releases


@contextmanager
def capped(releases: Releases, cores: float) -> Iterator[None]:
    """The host with so many cores for as long as the block runs."""
    name = f"{os.environ['SANDBOX_NAME']}-{releases.site.host.instance_id}"

    def update(value: float) -> None:
        subprocess.run(["docker", "update", "--cpus", str(value), name], check=True, capture_output=True)

    update(cores)
    try:
        yield
    finally:
        update(min(2, os.cpu_count() or 2))
