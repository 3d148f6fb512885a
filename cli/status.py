"""``make status``: a line per component, healthy or not, with version and URL."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from subprocess import CompletedProcess

from cli import certificate, doctor, host
from cli.targets import Target
from sandbox import __main__ as sandbox
from sandbox import hosts, server
from sandbox.config import Config
from sandbox.progress import say

COMPOSE = "docker compose --project-directory /opt/comentarios ps --all --format json"
Answer = CompletedProcess[str]


def status(target: Target) -> int:
    """Prints a line per component; returns 1 when one is not healthy."""
    healthy = known = True
    # Everything is asked at once, and told in its order.
    with ThreadPoolExecutor() as pool:
        if target.is_sandbox:
            config = Config()
            known = server.answers(config)
            path = pool.submit(doctor.blocked, config) if known else None
        found = host.hosts(target) if known else []
        asked = [(one, *_ask(pool, target, one)) for one in found]
        if target.is_sandbox:
            healthy = not sandbox.status(config)
            if not known and hosts.names(config):
                # Which there are was said, as far as it can be known without the APIs.
                return 1
            if healthy and path and (problem := path.result()):
                healthy = False
                _line(False, "firewall", problem)
        if not found:
            _line(False, "hosts", "none is running: run `make up`")
        for one, stack, probe in asked:
            healthy &= _host(target, one, stack.result(), probe.result())
    return 0 if healthy and found else 1


def _ask(pool: ThreadPoolExecutor, target: Target, one: host.Host) -> tuple[Future[Answer], Future[Answer]]:
    return pool.submit(host.run, target, one, COMPOSE), pool.submit(host.run, target, one, certificate.probe(one))


def _host(target: Target, one: host.Host, stack: Answer, probe: Answer) -> bool:
    if stack.returncode:
        reason = (stack.stderr.strip().splitlines() or ["no answer"])[-1]
        _line(False, one.name, f"ssh {one.user}@{one.address}: {reason}")
        return False
    rows = [json.loads(line) for line in stack.stdout.splitlines() if line.strip()]
    healthy = bool(rows)
    for row in sorted(rows, key=lambda row: row["Name"]):
        good = row["State"] == "running" and row["Health"] in {"", "healthy"}
        healthy &= good
        word = "starting" if row["Health"] == "starting" else "UNHEALTHY"
        _line(good, f"{one.name} {row['Service']}", f"{row['Image'].rpartition(':')[2]}  {row['Status']}", word)
    if not any(row["Service"] == "grafana" for row in rows):
        say("not run    Grafana: its image can neither be pulled nor is it in the local engine (GRAFANA_IMAGE=…)")
    if reason := certificate.pending(one, probe):
        say(f"pending    {one.name} certificate  {reason}")
        return healthy
    # The edge has a status of its own in each reply that it gives in the API's place.
    good = probe.returncode == 0 and '"status":"SUCCESS"' in probe.stdout
    _line(good, f"{one.name} API through the edge", f"{host.edge(target, one)}/")
    return healthy and good


def _line(healthy: bool, name: str, text: str, otherwise: str = "UNHEALTHY") -> None:
    say(f"{'healthy' if healthy else otherwise:<9}  {name}  {text}")
