"""``make status``: a line per component, healthy or not, with version and URL."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from subprocess import CompletedProcess

from cli import host, sandbox, terraform
from cli.targets import Target
from common.progress import say

COMPOSE = "docker compose --project-directory /opt/comentarios ps --all --format json"
Answer = CompletedProcess[str]


def status(target: Target) -> int:
    """Prints a line per component; returns 1 when one is not healthy."""
    # Everything is asked at once, and told in its order.
    with ThreadPoolExecutor() as pool:
        if known := not target.is_sandbox or terraform.answers(target):
            asked = [(one, *_ask(pool, target, one)) for one in host.hosts(target)]
        healthy = not target.is_sandbox or sandbox.status()
        if not known:
            # The sandbox said which hosts there are, as far as that can be known without its APIs.
            return 1
        if not asked:
            _line(False, "hosts", "none is running: run `make up`")
        for one, stack, probe in asked:
            healthy &= _host(target, one, stack.result(), probe.result())
    return 0 if healthy and asked else 1


def _ask(pool: ThreadPoolExecutor, target: Target, one: host.Host) -> tuple[Future[Answer], Future[Answer]]:
    # On the host itself, whatever the domain's DNS record says; its certificate is checked all the same.
    url = f"https://{one.domain}/readyz" if one.domain else "http://127.0.0.1/readyz"
    probe = f"curl --silent --show-error --fail --max-time 10 --connect-to ::127.0.0.1: {url}"
    return pool.submit(host.run, target, one, COMPOSE), pool.submit(host.run, target, one, probe)


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
    # The edge has a status of its own in each reply that it gives in the API's place.
    good = probe.returncode == 0 and '"status":"SUCCESS"' in probe.stdout
    _line(good, f"{one.name} API through the edge", f"{host.edge(target, one)}/")
    return healthy and good


def _line(healthy: bool, name: str, text: str, otherwise: str = "UNHEALTHY") -> None:
    say(f"{'healthy' if healthy else otherwise:<9}  {name}  {text}")
