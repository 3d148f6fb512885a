"""What a host carries: the rate at which 99 % of the replies take at most 250 ms and none fails, in half of the steps.

`make capacity` runs it, and prints each cell as it is measured and the table at the end. It measures all cells of a
database, and then all of them again; a cell whose two rates are far apart, twice more. A T3 gets its baseline, which it
may use all the time; what it can do for as long as it has credits is not measured. c7i.large has two cores of its own,
one of which is all that this machine can give beside the load.

The rates are those of a CPU of speed 1 (`crowd.speed`): a virtual machine's may change by a third within a minute.
Meanwhile the host's timers are stopped: on a fifth of a core, a backup takes the CPU time of ten seconds.
"""

from __future__ import annotations

import collections
import itertools
import math
import os
import re
import statistics
import time
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network
from typing import NamedTuple

import pytest
import tables
from postgres import Postgres

from cli import terraform
from common.paths import ROOT
from tests.support import counters, crowd
from tests.support.capped import capped
from tests.support.releases import Releases
from tests.support.site import Site


class Type(NamedTuple):
    """What a host of a type has: cores, MiB of memory, and what it may carry with SQLite and with PostgreSQL."""

    cores: float
    memory: int
    guesses: tuple[int, int]


TYPES = {
    "t3.micro": Type(0.2, 1024, (270, 80)),
    # With the memory of the smaller one; both have the same baseline.
    "t3.small, t3.medium": Type(0.4, 2048, (750, 250)),
    "c7i.large": Type(1.0, 4096, (2200, 800)),
}
DATABASES = ("SQLite", "PostgreSQL")
# What a type and database carried, by replicas, 0 for nothing: most of the next one's steps are near it.
CARRIED: dict[tuple[str, str], dict[int, list[float]]] = collections.defaultdict(lambda: collections.defaultdict(list))
REPLICAS = (4, 2, 1)
TIMES = 2
# Percent between the two rates of a cell, or each becomes the mean of two.
APART = 15
# Seconds of load: before the first step, after a release and with less memory, where the disk's cache shrinks; and at
# the rate that was found.
SETTLED, WARM, FOUND = 30, 10, 15
# Seconds after a step that was not calm: for one of them, the edge lets fewer requests wait.
SOBER = 2
TIMERS = "comentarios-backup.timer comentarios-logs.timer apt-daily.timer apt-daily-upgrade.timer"
PARAMETER = "/comentarios/database_url"
SECONDS_A_MONTH = 730 * 3600
COLUMNS = (
    "instance type",
    "cores",
    "database",
    "replicas",
    "requests/s, twice",
    "apart, %",
    "first at its limit",
    "CPU, % of the cores: API, edge, others",
    "memory MiB",
    "USD per million",
)


# Of a wider scope than `replicas`, or pytest would go back to SQLite for the last of them.
@pytest.fixture(scope="session", params=DATABASES)
def database(up: Site, releases: Releases, request: pytest.FixtureRequest) -> Iterator[str]:
    """The site with the threads in a database, and with four replicas. PostgreSQL is outside of the host, as RDS is."""
    crowd.fill(releases)
    server = None
    if request.param == "PostgreSQL":
        network = IPv4Network(os.environ["SANDBOX_SUBNET"])
        server = Postgres.create(IPv4Interface(f"{network[1]}/{network.prefixlen}"))
    try:
        if server:
            terraform.client(up.target, "ssm").put_parameter(
                Name=PARAMETER, Type="SecureString", Value=server.network_url, Overwrite=True
            )
            moved = up.make("move-database", WATCH="0", TO=PARAMETER, TF_VAR_database_url_parameter=PARAMETER)
            assert moved.returncode == 0, moved.stdout[-3000:]
        crowd.configure(releases, crowd.PROXIES, max(REPLICAS))
        assert releases.run(f"sudo systemctl stop {TIMERS}").returncode == 0
        crowd.phase(releases, 100, SETTLED)
        yield request.param
    finally:
        releases.run(f"sudo systemctl start {TIMERS}")
        if server:
            server.remove()


@pytest.fixture(scope="module", params=itertools.product(range(TIMES), REPLICAS))
def replicas(releases: Releases, database: str, request: pytest.FixtureRequest) -> Iterator[int]:
    """So many replicas: the others are stopped meanwhile, which takes less time than a release."""
    (_, wanted) = request.param
    command = "docker ps --quiet --filter label=com.docker.compose.service=api"
    running = releases.run(command).stdout.split()
    assert len(running) >= wanted, running
    if surplus := running[wanted:]:
        assert releases.run(f"docker stop {' '.join(surplus)}").returncode == 0
        time.sleep(1)
    yield wanted
    if surplus:
        assert releases.run(f"docker start {' '.join(surplus)}").returncode == 0
        # Until they serve.
        time.sleep(5)


@pytest.mark.parametrize("name", TYPES)
def test_what_a_host_carries(
    releases: Releases, database: str, replicas: int, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    type_, carried = TYPES[name], CARRIED[name, database]
    rates = carried[replicas]
    while True:
        near = [rate for rate in rates or itertools.chain(*carried.values()) if rate]
        rate, *measured = _measure(releases, type_, near[-1] if near else type_.guesses[DATABASES.index(database)])
        rates.append(rate)
        both = [_mean(rates[first::TIMES]) for first in range(min(len(rates), TIMES))]
        # Rates of which only one is 0 are as far apart as can be.
        apart = 100 * (max(both) / min(both) - 1) if all(both) else math.inf if any(both) else 0
        if len(rates) < TIMES or (len(rates) == TIMES and apart <= APART) or len(rates) == 2 * TIMES:
            break
    usd = " / ".join(f"{price / (_mean(both) * SECONDS_A_MONTH) * 1e6:.3f}" for price in _prices(name) if all(both))
    figures = " / ".join(f"{one:.0f}" if one else f"at most {crowd.LEAST}" for one in both)
    shown = f"{apart:.0f}" if len(both) == TIMES else ""
    row = (name, type_.cores, database, replicas, figures, shown, *measured, usd)
    if len(rates) >= TIMES:
        tables.add_row(COLUMNS, row)
    with capsys.disabled():
        print(f"\n| {' | '.join(map(str, row))} |", flush=True)


def _mean(rates: list[float]) -> float:
    """0 if one of them is 0."""
    return statistics.geometric_mean(rates) if all(rates) else 0


def _measure(releases: Releases, type_: Type, guess: float) -> tuple[float, str, str, str]:
    """The rate that a host of this type carries, and at this rate what is at its limit, shares of CPU, and memory."""
    with capped(releases, type_.cores, type_.memory):
        # Of the last twenty seconds of load.
        speeds = collections.deque(crowd.phase(releases, 30, WARM).speeds, round(20 / crowd.SPEED_SECONDS))

        def sent(rate: int) -> int:
            return round(rate * statistics.median(speeds))

        def step(rate: int) -> bool:
            found = crowd.step(releases, sent(rate))
            speeds.extend(found.speeds)
            if not found.calm:
                time.sleep(SOBER)
            return found.calm

        if not (rate := crowd.carried(step, round(guess))):
            return rate, "", "", ""
        with counters.used(releases) as used:
            crowd.phase(releases, sent(rate), FOUND)
    shares = ", ".join(f"{100 * used.cpu[one] / type_.cores:.0f}" for one in ("api", "edge", "others"))
    return rate, used.limit(type_.cores, type_.memory), shares, f"{used.memory:.0f}"


def _prices(types: str) -> list[float]:
    """US dollars a month."""
    text = (ROOT / "terraform/cost.md").read_text()
    found = [re.search(rf"^\| `{one}`.*?\*\*([\d.]+)\*\*", text, re.MULTILINE) for one in types.split(", ")]
    return [float(one[1]) for one in found if one]
