"""What a host carries: the highest rate at which 99 % of the replies take at most 250 ms and none fails.

Each row is measured twice. A T3 may use its baseline for as long as it likes; that is what the host gets. What a type
with whole cores carries cannot be measured where the load shares its cores.
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import tables

from tests.support import crowd
from tests.support.capped import capped
from tests.support.releases import Releases

# By type: both vCPUs at their baseline.
CORES = {"t3.micro": 0.2, "t3.small, t3.medium": 0.4, "t3.large": 0.6}
REPLICAS = (1, 2, 4)
COLUMNS = ("cores of the host", "replicas", "requests/s", "again", "p99 ms", "of a core: API, edge, others")


@pytest.mark.parametrize("replicas", REPLICAS)
def test_what_a_host_carries(releases: Releases, replicas: int) -> None:
    with crowd.known(releases, stack_api_replicas=replicas):
        for types, cores in CORES.items():
            with capped(releases, cores):
                (first, calm), (again, _) = crowd.carried(releases), crowd.carried(releases)
                shares = _shares(releases, again)
            row = (f"{cores} ({types})", replicas, first, again, f"{1000 * crowd.p99(calm.seen):.0f}", shares)
            tables.add_row(COLUMNS, row)
            assert first and again, row


def _shares(releases: Releases, rate: int) -> str:
    """What part of a core API, edge and the other containers use at a rate."""
    with ThreadPoolExecutor(1) as pool:
        # It looks twice, a second apart.
        stats = pool.submit(releases.run, "docker stats --no-stream --format '{{.Name}} {{.CPUPerc}}'")
        crowd.phase(releases, rate)
    used: Counter[str] = Counter()
    for name, percent in (line.split() for line in stats.result().stdout.splitlines()):
        service = name.split("-")[1]
        used[service if service in {"api", "edge"} else "others"] += float(percent.rstrip("%"))
    return ", ".join(f"{used[service]:.0f} %" for service in ("api", "edge", "others"))
