"""``make ssh``, ``make tunnel`` and ``make dev``: what ends when the person ends it."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from pathlib import Path

from cli import engine, host, program
from cli.errors import VerbError
from cli.targets import ROOT, STATE, Target
from cli.tunnel import Door
from sandbox.progress import say

# What listens on the host alone, the variable of its port here, and its port there.
INSIDE = {
    "grafana": ("GRAFANA_PORT", 3000),
    "prometheus": ("PROMETHEUS_PORT", 9090),
    "alertmanager": ("ALERTMANAGER_PORT", 9093),
}


def ssh(target: Target) -> int:
    """A shell on the host, or CMD there; its exit status."""
    command = os.environ.get("CMD") or ""
    return subprocess.run(host.ssh(target, host.chosen(target), command), check=False).returncode


def tunnel(target: Target) -> int:
    """Grafana, Prometheus and Alertmanager on ports of 127.0.0.1, until Ctrl-C.

    Raises:
        VerbError: a port is taken or is none, or the host does not answer.
    """
    chosen = host.chosen(target)
    listed = host.run(target, chosen, "docker ps --format '{{.Label \"com.docker.compose.service\"}}'")
    if listed.returncode:
        raise VerbError(f"{chosen.name} does not answer: {(listed.stderr.strip().splitlines() or ['no output'])[-1]}")
    running = set(listed.stdout.split())
    ports = {name: (port(variable, there), there) for name, (variable, there) in INSIDE.items() if name in running}
    for name, (here, _) in ports.items():
        say(f"  {name.capitalize():<13} http://127.0.0.1:{here}")
    if "grafana" in ports:
        say("  Grafana's user is admin, its password is in SSM (/comentarios/grafana/admin_password) and on the host:")
        say("  make ssh CMD='sudo cat /opt/comentarios/grafana/secrets/admin_password'")
    say("  Ctrl-C ends the tunnel.")
    # SSH listens where no browser gets to: what one may ask, cli/tunnel.py says.
    with tempfile.TemporaryDirectory(prefix="comentarios-tunnel-") as folder:
        for name, (here, _) in ports.items():
            Door(here, Path(folder, name)).serve()
        sockets = {f"{folder}/{name}": there for name, (_, there) in ports.items()}
        return _until_interrupted(host.forwards(target, chosen, sockets))


def dev(_: Target) -> int:
    """`docker compose up`: the stack for development, until Ctrl-C; Compose is fetched where it is missing."""
    engine.ensure(STATE / "engine")
    return _until_interrupted([*program.compose(), "--project-directory", str(ROOT), "up"])


def port(variable: str, default: int) -> int:
    """The port of 127.0.0.1 that a variable of the environment names.

    Raises:
        VerbError: it is none, or something listens there.
    """
    text = os.environ.get(variable) or str(default)
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise VerbError(f"{variable}={text} is not a port: set it to a number from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(text)))
        except OSError as error:
            raise VerbError(
                f"port {text} of 127.0.0.1 is taken ({error.strerror}): set {variable} to a free one"
            ) from None
    return int(text)


def _until_interrupted(command: list[str]) -> int:
    """Runs what ends by Ctrl-C, which is then no error."""
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 0
