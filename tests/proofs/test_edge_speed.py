"""The cost of the edge, compared with a bare HAProxy and with direct requests to the replicas.

A benchmark of `make bench` and `make prove`: it prints figures beside goals, and fails only when a reply is no success.
"""

from __future__ import annotations

import json
import re
import shlex
import statistics
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import tables
import wrk

from tests.support.releases import Releases

FOLDER = "/tmp/edge-speed"
CONNECTIONS, SECONDS, ROUNDS = 32, 3, 7
BARE = """
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 5s
frontend public
    bind :8080
    default_backend api
backend api
    balance leastconn
"""
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"email":"alice@example.com","comment":"A comment of an ordinary length, of many.","content_id":"speed"}'
"""
GET, POST = "GET 20", "POST"
EDGE, PROXY, REPLICA = "edge", "bare proxy", "one replica, directly"


class Way(NamedTuple):
    """Where requests go to: URL, and the process on the host that takes them."""

    url: str
    process: int


class Measured(NamedTuple):
    """Requests a second, milliseconds that 99 % stay below, and microseconds of CPU that a request takes there.

    The last is least moved by whatever else the machine does.
    """

    rate: float
    p99: float
    cpu: float = 0.0


def _run(releases: Releases, command: str) -> str:
    done = releases.run(command)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return str(done.stdout)


def _address(releases: Releases, container: str) -> str:
    format_ = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return _run(releases, f"docker inspect --format {shlex.quote(format_)} {container}").strip()


def _way(releases: Releases, container: str, port: int) -> Way:
    processes = _run(releases, f"docker top {container} -o pid").split()[1:]
    return Way(f"http://{_address(releases, container)}:{port}", int(processes[-1]))


def _write(releases: Releases, name: str, text: str) -> None:
    _run(releases, f"mkdir -p {FOLDER} && printf %s {shlex.quote(text)} > {FOLDER}/{name}")


@pytest.fixture
def ways(releases: Releases) -> Iterator[dict[str, Way]]:
    """By name: the edge's own configuration without the limits of a client's rate, a bare one, and a replica."""
    replicas = _run(releases, "docker ps --quiet --filter label=com.docker.compose.service=api").split()
    addresses = [_address(releases, one) for one in replicas]
    servers = "".join(f"    server api{number} {address}:8000\n" for number, address in enumerate(addresses))
    _write(releases, "bare.cfg", BARE + servers)
    live = _run(releases, "cat /opt/comentarios/haproxy/haproxy.cfg")
    unlimited = (line for line in live.splitlines(keepends=True) if "sc_http_req_rate" not in line)
    _write(releases, "edge.cfg", "".join(unlimited) + "\n")
    _write(releases, "post.lua", SCRIPT)
    release = _run(releases, "grep -o 'release-.*' /opt/comentarios/haproxy/live.cfg").strip()
    image = _run(releases, "grep ^EDGE_IMAGE= /opt/comentarios/.env | cut -d= -f2").strip()
    try:
        for name in ("edge", "bare"):
            _run(
                releases,
                f"docker run --detach --name speed-{name} --network comentarios_api --env LIVE_RELEASE={release}"
                f" --volume {FOLDER}:/speed:ro --volume /opt/comentarios/haproxy:/etc/haproxy:ro {image}"
                f" haproxy -W -db -f /speed/{name}.cfg",
            )
        _run(releases, "which wrk hey || sudo apt-get install --yes --no-install-recommends wrk hey")
        proxies = {EDGE: "speed-edge", PROXY: "speed-bare"}
        yield {name: _way(releases, container, 8080) for name, container in proxies.items()} | {
            REPLICA: _way(releases, replicas[0], 8000)
        }
    finally:
        releases.run(f"docker rm --force speed-edge speed-bare; rm -r {FOLDER}")


def _flat_out(releases: Releases, way: Way, path: str, script: str) -> Measured:
    """As many requests as the connections carry, each of which is a success."""
    ticks = f"awk '{{ print \"ticks\", $14 + $15 }}' /proc/{way.process}/stat"
    load = f"wrk --threads 1 --connections {CONNECTIONS} --duration {SECONDS} --latency {script} {way.url}{path}"
    said = _run(releases, f"{ticks}; {load}; {ticks}")
    found = wrk.read(said)
    before, after = map(int, re.findall(r"ticks (\d+)", said))
    # Hundredths of a second.
    return Measured(found.rate, found.p99, (after - before) * 10_000 / found.requests)


def _at_rate(releases: Releases, url: str, rate: float) -> Measured:
    """So many requests a second, over the same connections."""
    said = _run(releases, f"hey -z {SECONDS}s -c {CONNECTIONS} -q {rate / CONNECTIONS:.0f} {url}")
    assert re.search(r"^\s+\[200\]\s", said, re.M) and said.count("responses") == 1 and "Error" not in said, said
    reached, latency = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"99%+ in ([\d.]+) secs", said)
    assert reached and latency, said
    return Measured(float(reached[1]), 1000 * float(latency[1]))


def test_edge_beside_a_bare_proxy(releases: Releases, ways: dict[str, Way]) -> None:
    body = json.dumps({"email": "alice@example.com", "comment": "One of twenty comments.", "content_id": "twenty"})
    for _ in range(20):
        _run(releases, f"curl --silent --fail --json {shlex.quote(body)} {ways[EDGE].url}/api/comment/new")
    work = {
        GET: ("/api/comment/list/twenty?limit=20", ""),
        POST: ("/api/comment/new", f"--script {FOLDER}/post.lua"),
    }
    seen: dict[tuple[str, str], list[Measured]] = {(what, way): [] for what in work for way in ways}
    for turn in range(ROUNDS + 1):
        for what, (path, script) in work.items():
            # Side by side, and in turns the other way round: whatever else the machine does falls on all alike.
            for way in list(ways)[:: -1 if turn % 2 else 1]:
                measured = _flat_out(releases, ways[way], path, script)
                # The first round only warms up.
                if turn:
                    seen[what, way].append(measured)
    half = statistics.median(one.rate for one in seen[GET, EDGE]) / 2
    calm = {way: [_at_rate(releases, ways[way].url + work[GET][0], half) for _ in range(3)] for way in (EDGE, PROXY)}
    _tell(seen, calm)


def _tell(seen: dict[tuple[str, str], list[Measured]], calm: dict[str, list[Measured]]) -> None:
    """Appends the tables to what `make bench` and `make prove` print."""

    def median(found: list[Measured]) -> Measured:
        return Measured(*(statistics.median(values) for values in zip(*found, strict=True)))

    def shares(what: str) -> str:
        pairs = zip(seen[what, EDGE], seen[what, PROXY], strict=True)
        found = sorted(ours.rate / bare.rate for ours, bare in pairs)
        return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"

    lines = ["| workload | way | requests/s | p99 ms | its CPU, µs a request |", "|---|---|--:|--:|--:|"]
    for (what, way), found in seen.items():
        rate, p99, cpu = median(found)
        lines.append(f"| {what} | {way} | {rate:,.0f} | {p99:.1f} | {cpu:.0f} |")
    for way, found in calm.items():
        lines.append(f"| {GET} | {way}, half the edge's rate | {median(found).rate:,.0f} | {median(found).p99:.1f} | |")
    lines += ["", "| what | measured | goal |", "|---|---|---|"]
    for what in (GET, POST):
        lines.append(f"| {what}: the edge's rate by the bare proxy's, of {ROUNDS} pairs | {shares(what)} | ≥ 0.85 |")
    best, bare = (median(seen[GET, way]).rate for way in (EDGE, PROXY))
    lines.append(f"| {GET} through the edge, a second | {best:,.0f} (the bare proxy {bare:,.0f}) | ≥ 6,600 |")
    ours, other = (median(calm[way]).p99 for way in (EDGE, PROXY))
    lines.append(f"| p99 at half that rate | {ours:.1f} ms (the bare proxy {other:.1f}) | ≤ 25 ms |")
    tables.add(*lines)
