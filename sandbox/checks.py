"""The sandbox's checks of this machine: name, network, ports, disk and firewall."""

import ipaddress
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from common import images, ownership, ports
from common.check import BAD, GOOD, NOTE, Check, tried
from common.config import Config
from common.docker import docker, inspect
from common.errors import CommandError
from sandbox import server
from sandbox.images import chosen

NEEDED_GIB = 6  # for the images, one host's images and data


def before_start(config: Config) -> Iterator[Check]:
    """Checks of what would make `start` fail."""
    yield _subnet(config)
    yield tried("ports, disk", lambda: _resources(config))


def rows(config: Config) -> Iterator[Check]:
    """All checks, for ``make doctor``."""
    yield tried("sandbox", lambda: _owned(config))
    yield from before_start(config)
    if server.answers(config):
        problem = blocked(config)
        yield Check("firewall", BAD if problem else GOOD, problem or "the hosts reach the sandbox's APIs")
    else:
        name, rule = firewall(config)
        yield Check("firewall", NOTE, f"{name}; checked when the sandbox is up", f"if it denies: `{rule}`")


def _owned(config: Config) -> str:
    ownership.check(config)
    return f"{config.name}, in {config.state}"


def _resources(config: Config) -> str:
    """Disk and ports."""
    root = docker("info", "--format", "{{.DockerRootDir}}").strip()
    try:
        free = shutil.disk_usage(root).free / 2**30
    except OSError:  # an engine on another machine, whose disk is not visible here
        free = NEEDED_GIB
    if free < NEEDED_GIB:
        raise CommandError(f"{root} has {free:.1f} GiB free, but {NEEDED_GIB} GiB are needed: free some space")
    ours = {
        binding["HostPort"]
        for name in docker("ps", "--all", "--quiet", "--filter", f"label={config.label}").split()
        for container in filter(None, [inspect("container", name)])
        for bindings in (container["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings
    }
    for port, variable in ((config.registry_port, "SANDBOX_REGISTRY_PORT"), (config.edge_port, "EDGE_PORT")):
        if str(port) not in ours:
            ports.require_free("127.0.0.1", port, variable)
    return f"{config.edge_port} and {config.registry_port} of 127.0.0.1, {NEEDED_GIB} GiB or more free"


def _subnet(config: Config) -> Check:
    if inspect("network", config.name):
        return Check("subnet", GOOD, f"{config.subnet}, the sandbox's own")
    for name, network in _networks():
        if network.overlaps(config.subnet):
            found = f"{config.subnet} overlaps {network} of {name}"
            return Check("subnet", BAD, found, f"set SANDBOX_SUBNET to a free network (it is {config.subnet})")
    return Check("subnet", GOOD, f"{config.subnet} is free")


def _networks() -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    """Every IPv4 network of Docker and of this machine's routes, except the default route."""
    if names := docker("network", "ls", "--quiet").split():
        for one in json.loads(docker("network", "inspect", *names, check=False) or "[]"):
            for part in one["IPAM"]["Config"] or []:
                if ":" not in part.get("Subnet", ":"):
                    yield f"the Docker network {one['Name']}", ipaddress.IPv4Network(part["Subnet"], strict=False)
    try:
        lines = Path("/proc/net/route").read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        interface, destination, _, _, _, _, _, mask = line.split()[:8]
        address, bits = (socket.inet_ntoa(bytes.fromhex(text)[::-1]) for text in (destination, mask))
        if bits != "0.0.0.0":
            yield f"the interface {interface}", ipaddress.IPv4Network(f"{address}/{bits}", strict=False)


def blocked(config: Config) -> str:
    """Why a container in the sandbox's network cannot reach the APIs; empty if it can."""
    needed = (config.aws_port, config.metadata_port)
    tries = "; ".join(f"timeout 3 bash -c '</dev/tcp/{config.gateway}/{port}' || echo {port}" for port in needed)
    running = docker(
        "ps", "--quiet", "--filter", f"label={config.label}", "--filter", f"name=^{config.name}-i-"
    ).split()
    if running:
        said = docker("exec", running[0], "bash", "-c", tries, check=False)
    else:
        base = chosen(config).get("base") or images.base(config.state)
        said = docker("run", "--rm", "--network", config.name, "--label", config.label, base, "bash", "-c", tries)
    closed = said.split()
    if not closed:
        return ""
    name, rule = firewall(config)
    return (
        f"the hosts ({config.subnet}) cannot reach the sandbox on {config.gateway}, port {' and '.join(closed)}: "
        f"{name} blocks the traffic; allow it with `{rule}`"
    )


def firewall(config: Config) -> tuple[str, str]:
    """This machine's firewall, and the command that allows traffic from the sandbox's hosts to its APIs."""
    source, to = str(config.subnet), config.gateway
    listed = ",".join(map(str, sorted((config.aws_port, config.metadata_port))))
    if _says(["ufw", "status"], "Status: active") or _enabled(Path("/etc/ufw/ufw.conf"), "ENABLED=yes"):
        return "ufw", f"sudo ufw allow proto tcp from {source} to {to} port {listed}"
    if _says(["firewall-cmd", "--state"], "running"):
        return (
            "firewalld",
            f"sudo firewall-cmd --permanent --zone=trusted --add-source={source} && sudo firewall-cmd --reload",
        )
    rule = f"sudo iptables -I INPUT -p tcp -s {source} -d {to} -m multiport --dports {listed} -j ACCEPT"
    return "a firewall (iptables or nftables)", rule


def _says(command: list[str], wanted: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return wanted in done.stdout


def _enabled(file: Path, line: str) -> bool:
    # `ufw status` needs root; everybody can read the file.
    try:
        return line in file.read_text().splitlines()
    except OSError:
        return False
