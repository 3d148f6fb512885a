"""What the edge costs: requests through it, beside the same replicas asked directly and a bare HAProxy before them."""

from __future__ import annotations

import json
import re
import shlex
import statistics
from collections.abc import Iterator

import pytest

from cli.targets import STATE
from tests.support.releases import Releases

TABLES = STATE / "proofs.md"
FOLDER = "/tmp/edge-speed"
CONNECTIONS, SECONDS, ROUNDS = 32, 5, 3
# The share of the bare proxy's requests that the edge carries at least.
LEAST = 0.85
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


def _run(releases: Releases, command: str) -> str:
    done = releases.run(command)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return str(done.stdout)


def _address(releases: Releases, container: str) -> str:
    format_ = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return _run(releases, f"docker inspect --format {shlex.quote(format_)} {container}").strip()


def _write(releases: Releases, name: str, text: str) -> None:
    _run(releases, f"mkdir -p {FOLDER} && printf %s {shlex.quote(text)} > {FOLDER}/{name}")


@pytest.fixture
def ways(releases: Releases) -> Iterator[dict[str, str]]:
    """URLs by name: the edge's own configuration without the limits of a client's rate, a bare one, and a replica."""
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
                f" --volume {FOLDER}:/speed:ro {image} haproxy -W -db -f /speed/{name}.cfg",
            )
        _run(releases, "which wrk hey || sudo apt-get install --yes --no-install-recommends wrk hey")
        proxies = {name: f"http://{_address(releases, f'speed-{name}')}:8080" for name in ("edge", "bare")}
        yield proxies | {"one replica, directly": f"http://{addresses[0]}:8000"}
    finally:
        releases.run(f"docker rm --force speed-edge speed-bare; rm -r {FOLDER}")


def _rate(releases: Releases, url: str, script: str) -> tuple[float, float]:
    """Requests a second, and milliseconds that 99 % stay below; every reply is a success."""
    said = _run(releases, f"wrk --threads 1 --connections {CONNECTIONS} --duration {SECONDS} --latency {script} {url}")
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    latency = re.search(r"99%\s+([\d.]+)(us|ms|s)", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert latency and rate, said
    return float(rate[1]), float(latency[1]) * {"us": 0.001, "ms": 1, "s": 1000}[latency[2]]


def test_edge_costs_little(releases: Releases, ways: dict[str, str]) -> None:
    body = json.dumps({"email": "alice@example.com", "comment": "One of twenty comments.", "content_id": "twenty"})
    for _ in range(20):
        post = f"curl --silent --fail --json {shlex.quote(body)} {ways['edge']}/api/comment/new"
        _run(releases, post)
    work = {
        "GET 20": ("/api/comment/list/twenty?limit=20", ""),
        "POST": ("/api/comment/new", f"--script {FOLDER}/post.lua"),
    }
    seen: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        # Side by side in each round: whatever else the machine does falls on all alike.
        for what, (path, script) in work.items():
            for way, url in ways.items():
                seen.setdefault((what, way), []).append(_rate(releases, url + path, script))
    median = {key: [statistics.median(values) for values in zip(*found, strict=True)] for key, found in seen.items()}
    half = median["GET 20", "edge"][0] / 2 / CONNECTIONS
    said = _run(releases, f"hey -z {SECONDS}s -c {CONNECTIONS} -q {half:.0f} {ways['edge']}{work['GET 20'][0]}")
    calm = re.search(r"99%+ in ([\d.]+) secs", said)
    assert calm, said
    lines = ["| workload | way | requests/s | p99 ms | × bare proxy |", "|---|---|--:|--:|--:|"]
    for (what, way), (rate, late) in median.items():
        lines.append(f"| {what} | {way} | {rate:,.0f} | {late:.1f} | {rate / median[what, 'bare'][0]:.2f} |")
    lines.append(f"| GET 20 | edge, at half its rate | {half * CONNECTIONS:,.0f} | {1000 * float(calm[1]):.1f} | |")
    table = "\n".join(lines)
    with TABLES.open("a") as file:
        file.write(f"\n{table}\n")
    assert all(median[what, "edge"][0] >= LEAST * median[what, "bare"][0] for what in work), table
