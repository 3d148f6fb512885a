"""What the containers reach: connections from each one's network, as its user, to every address."""

from __future__ import annotations

import base64
import json
import shlex
from dataclasses import dataclass
from typing import Any

from common.config import REGION, Config, ecr_host
from tests.support.site import Site

SERVICE = "com.docker.compose.service"
PORTS = {
    "API": ("api", 8000),
    "edge": ("edge", 8080),
    "edge's metrics": ("edge", 8405),
    "Prometheus": ("prometheus", 9090),
    "Alertmanager": ("alertmanager", 9093),
    "Grafana": ("grafana", 3000),
}
METADATA = "169.254.169.254"
# Standard library, for the host's Python: prints the names of the targets that take a connection.
PROBE = """
import json, socket, struct, sys, threading
targets, name = json.loads(sys.stdin.read()); found = set()
def knock(label, address, port):
    try:
        socket.create_connection((address, port), 1.5).close(); found.add(label)
    except OSError: pass
def ask():
    query = struct.pack("!6H", 7, 256, 1, 0, 0, 0)
    query += b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + struct.pack("!B2H", 0, 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.settimeout(3)
        try:
            server.sendto(query, ("127.0.0.11", 53)); reply = server.recv(512)
            if struct.unpack("!6H", reply[:12])[3]: found.add("outside's names")
        except OSError: pass
threads = [threading.Thread(target=knock, args=one) for one in targets] + [threading.Thread(target=ask)]
for one in threads: one.start()
for one in threads: one.join()
print(json.dumps(sorted(found)))
"""
COLUMNS = [*PORTS, "node exporter", "host", "metadata", "outside", "outside's names"]


@dataclass(frozen=True)
class Container:
    """A running container: its service, and what the engine says of it."""

    service: str
    pid: int
    user: str
    addresses: list[str]


def containers(site: Site) -> list[Container]:
    """Every running container that has a service's name."""
    done = site.ssh(f"docker inspect $(docker ps --quiet --filter label={SERVICE})")
    assert done.returncode == 0, done.stderr
    return [_container(one) for one in json.loads(done.stdout)]


def _container(one: dict[str, Any]) -> Container:
    addresses = [network["IPAddress"] for network in one["NetworkSettings"]["Networks"].values()]
    user = one["Config"]["User"].partition(":")[0]
    return Container(
        one["Config"]["Labels"][SERVICE], one["State"]["Pid"], user, [found for found in addresses if found]
    )


def targets(site: Site, found: list[Container]) -> list[tuple[str, str, int]]:
    """Where there is something to reach: column of the table, address, port."""
    listed = site.ssh("ip -json -4 address").stdout
    own = [address["local"] for link in json.loads(listed) for address in link["addr_info"]]
    # What is published on the host's own addresses is reached there, too.
    services = [
        (column, address, port)
        for column, (service, port) in PORTS.items()
        for address in [one for each in found if each.service == service for one in each.addresses] + own
        # The edge's 8080 and 8405 are the host's 80.
        if port not in (8080, 8405) or address not in own
    ]
    services += [("edge", "127.0.0.1", 80), *(("node exporter", one, 9100) for one in own)]
    outside = Config()
    return [
        *services,
        *(("host", one, 22) for one in own),
        ("metadata", METADATA, 80),
        ("outside", outside.gateway, outside.aws_port),
    ]


def reached(site: Site, one: Container, to: list[tuple[str, str, int]]) -> set[str]:
    """The columns of what a container's user reaches from its network."""
    program = base64.b64encode(PROBE.encode()).decode()
    given = base64.b64encode(json.dumps([to, ecr_host(REGION)]).encode()).decode()
    python = f"import base64; exec(base64.b64decode('{program}'))"
    user = f"setpriv --reuid={one.user} --regid={one.user} --clear-groups --no-new-privs"
    inside = f"sudo nsenter --target {one.pid} --net {user} python3 -c {shlex.quote(python)}"
    done = site.ssh(f"echo {given} | base64 --decode | {inside}")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def table(rows: dict[str, set[str]]) -> str:
    """As docs/security.md has it."""
    lines = [f"| from | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, found in rows.items():
        lines.append(f"| {name} | {' | '.join('yes' if column in found else '' for column in COLUMNS)} |")
    return "\n".join(" ".join(line.split()) for line in lines) + "\n"
