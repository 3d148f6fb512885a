"""``make status``: one line per component with its health, version and URL."""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from subprocess import CompletedProcess

from cli import certificate, host, sandbox, terraform
from cli.targets import Target
from common.errors import last_line
from common.progress import say

COMPOSE = f"{host.COMPOSE} ps --all --format json"
Answer = CompletedProcess[str]


def status(target: Target) -> int:
    """Prints one line per component; returns 1 if one is not healthy."""
    # All queries run in parallel; the output keeps its order.
    with ThreadPoolExecutor() as pool:
        parts = pool.submit(sandbox.status) if target.is_sandbox else None
        if known := not target.is_sandbox or terraform.answers(target):
            asked = [(one, *_ask(pool, target, one)) for one in host.hosts(target)]
        healthy = parts.result() if parts else True
        if not known:
            # The sandbox's own status has listed its hosts.
            return 1
        if not asked:
            _line(False, "hosts", "no host is running: run `make up`")
        for one, stack, probe, edge in asked:
            healthy &= _host(one, stack.result(), probe.result(), edge.result)
    return 0 if healthy and asked else 1


def _ask(
    pool: ThreadPoolExecutor, target: Target, one: host.Host
) -> tuple[Future[Answer], Future[Answer], Future[str]]:
    stack, probe = (pool.submit(host.run, target, one, command) for command in (COMPOSE, certificate.probe(one)))
    return stack, probe, pool.submit(host.edge, target, one)


def _host(one: host.Host, stack: Answer, probe: Answer, edge: Callable[[], str]) -> bool:
    if stack.returncode:
        _line(False, one.name, f"ssh {one.user}@{one.address}: {last_line(stack.stderr, 'no answer')}")
        return False
    rows = [json.loads(line) for line in stack.stdout.splitlines() if line.strip()]
    healthy = bool(rows)
    serving = {_release(row) for row in rows if row["State"] == "running"}
    for row in sorted(rows, key=lambda row: row["Name"]):
        good = row["State"] == "running"
        # Stopped, but kept for a rollback in a second while a release is being watched.
        standby = row["State"] == "exited" and row["ExitCode"] == 0 and _release(row) and serving - {"", _release(row)}
        healthy &= bool(good or standby)
        text = f"{_version(row['Image'])}  {row['Status']}"
        _line(good, f"{one.name} {row['Service']}", text, "standby" if standby else "UNHEALTHY")
    if not any(row["Service"] == "grafana" for row in rows):
        say("not run    Grafana: its image is not available (set GRAFANA_IMAGE)")
    if reason := certificate.pending(one, probe):
        say(f"pending    {one.name} certificate  {reason}")
        return healthy
    # The edge's own replies have another status in their body.
    good = probe.returncode == 0 and '"status":"SUCCESS"' in probe.stdout
    _line(good, f"{one.name} API through the edge", f"{edge()}/")
    return healthy and good


def _version(image: str) -> str:
    """The tag; of an image that is named by its id, as much as Docker shows."""
    tag = image.rpartition(":")[2]
    return tag[:12] if len(tag) == 64 else tag


def _release(row: dict[str, str]) -> str:
    """Which release's replica it is; empty for the other services."""
    labels = dict(label.partition("=")[::2] for label in row["Labels"].split(","))
    return labels.get("comentarios.release", "")


def _line(healthy: bool, name: str, text: str, otherwise: str = "UNHEALTHY") -> None:
    say(f"{'healthy' if healthy else otherwise:<9}  {name}  {text}")
