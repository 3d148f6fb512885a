"""``make status``: a line per component, healthy or not, with version and URL."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from subprocess import CompletedProcess

from cli import doctor, host
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
    serving = {_release(row) for row in rows if _good(row)}
    for row in sorted(rows, key=lambda row: row["Name"]):
        good = _good(row)
        # Stopped, so that the way back is a second's, for as long as a release is watched.
        standby = row["State"] == "exited" and row["ExitCode"] == 0 and _release(row) and serving - {"", _release(row)}
        healthy &= bool(good or standby)
        word = "standby" if standby else "starting" if row["Health"] == "starting" else "UNHEALTHY"
        _line(good, f"{one.name} {row['Service']}", f"{row['Image'].rpartition(':')[2]}  {row['Status']}", word)
    if not any(row["Service"] == "grafana" for row in rows):
        say("not run    Grafana: its image can neither be pulled nor is it in the local engine (GRAFANA_IMAGE=…)")
    # The edge has a status of its own in each reply that it gives in the API's place.
    good = probe.returncode == 0 and '"status":"SUCCESS"' in probe.stdout
    _line(good, f"{one.name} API through the edge", f"{host.edge(target, one)}/")
    return healthy and good


def _good(row: dict[str, str]) -> bool:
    return row["State"] == "running" and row["Health"] in {"", "healthy"}


def _release(row: dict[str, str]) -> str:
    """Which release's replica it is; empty for the other services."""
    labels = dict(label.partition("=")[::2] for label in row["Labels"].split(","))
    return labels.get("comentarios.release", "")


def _line(healthy: bool, name: str, text: str, otherwise: str = "UNHEALTHY") -> None:
    say(f"{'healthy' if healthy else otherwise:<9}  {name}  {text}")
