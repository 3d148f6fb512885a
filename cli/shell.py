"""``make ssh``, ``make tunnel`` and ``make dev``: all run until the user ends them."""

import subprocess
import tempfile
from pathlib import Path

from cli import downloads, host
from cli.targets import Target
from common import engine, ports
from common.errors import CommandError, last_line
from common.paths import ROOT
from common.progress import say

# Services on the host's loopback and their ports. `make tunnel` uses the same ports here by default.
PORTS = {"grafana": 3000, "prometheus": 9090, "alertmanager": 9093}


def ssh(target: Target, cmd: str, host_: str) -> int:
    """A shell on the host, or one command there; its exit status."""
    return subprocess.run(host.ssh(target, host.chosen(target, host_), cmd), check=False).returncode


def tunnel(target: Target, host_: str, grafana_port: str, prometheus_port: str, alertmanager_port: str) -> int:
    """Forwards Grafana, Prometheus and Alertmanager to ports of 127.0.0.1, until Ctrl-C.

    Raises:
        CommandError: a port is invalid or in use, or the host does not answer.
    """
    # A slow import that only this verb needs.
    from cli.tunnel import TunnelProxy

    chosen = host.chosen(target, host_)
    given = {"grafana": grafana_port, "prometheus": prometheus_port, "alertmanager": alertmanager_port}
    listed = host.run(target, chosen, "docker ps --format '{{.Label \"com.docker.compose.service\"}}'")
    if listed.returncode:
        raise CommandError(f"{chosen.name} does not answer: {last_line(listed.stderr)}")
    running = set(listed.stdout.split())
    listening = {name: (port(name, given[name], there), there) for name, there in PORTS.items() if name in running}
    if not listening:
        raise CommandError(f"{chosen.name} runs none of {', '.join(PORTS)}: see `make status`")
    for name, (here, _) in listening.items():
        say(f"  {name.capitalize():<13} http://127.0.0.1:{here}")
    if "grafana" in listening:
        password = target.names.parameter("grafana/admin_password")
        say(f"  Grafana's user is admin. The password is in SSM ({password}) and on the host:")
        say("  make ssh CMD='sudo cat /opt/comentarios/grafana/secrets/admin_password'")
    say("  Ctrl-C ends the tunnel.")
    # SSH listens on sockets that no browser reaches; cli/tunnel.py decides which requests pass.
    with tempfile.TemporaryDirectory(prefix="comentarios-tunnel-") as folder:
        for name, (here, _) in listening.items():
            TunnelProxy(here, Path(folder, name)).serve()
        sockets = {f"{folder}/{name}": there for name, (_, there) in listening.items()}
        return _until_interrupted(host.forwards(target, chosen, sockets))


def dev(_: Target) -> int:
    """``make dev``: `docker compose up`, until Ctrl-C."""
    engine.ensure()
    return _until_interrupted([*downloads.compose(), "--project-directory", str(ROOT), "up"])


def port(name: str, given: str, default: int) -> int:
    """The port of 127.0.0.1 for a service: the given one, or the default.

    Raises:
        CommandError: it is invalid or in use.
    """
    variable = f"{name.upper()}_PORT"
    chosen = ports.number(variable, given or str(default))
    ports.require_free("127.0.0.1", chosen, variable)
    return chosen


def _until_interrupted(command: list[str]) -> int:
    """Runs a command that the user ends with Ctrl-C, which is not an error."""
    try:
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return 0
