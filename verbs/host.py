"""The hosts as Ansible's inventory sees them, and SSH to them with the very options that Ansible uses."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass

from sandbox.config import Config
from sandbox.docker import inspect
from verbs.environment import ROOT, Target
from verbs.errors import VerbError


@dataclass(frozen=True)
class Host:
    """One host of the inventory."""

    name: str
    address: str
    user: str
    instance_id: str
    domain: str = ""


def hosts(target: Target) -> list[Host]:
    """Every running host of the inventory.

    Raises:
        VerbError: the inventory cannot be read.
    """
    # SSH keeps the hosts' keys in it.
    target.state.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["ansible-inventory", "--list"], cwd=ROOT, env=target.environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise VerbError(f"the inventory cannot be read: {lines[-1]}")
    known = json.loads(done.stdout)
    return [
        Host(
            name,
            _plain(variables["ansible_host"]),
            _plain(variables["ansible_user"]),
            _plain(variables["ec2_instance_id"]),
            _plain(variables["ec2_tags"].get("edge_domain", "")),
        )
        for name, variables in sorted(known["_meta"]["hostvars"].items())
        if name in known.get("comentarios", {}).get("hosts", [])
    ]


def _plain(value: str | dict[str, str]) -> str:
    # ansible-inventory marks what came from outside, so that it is never taken for a template.
    return value["__ansible_unsafe"] if isinstance(value, dict) else value


def chosen(target: Target) -> Host:
    """The host that HOST names, else the first.

    Raises:
        VerbError: there is none, or none of that name.
    """
    found = hosts(target)
    wanted = os.environ.get("HOST")
    if not found:
        raise VerbError("no host is running: run `make up`")
    for host in found:
        if wanted in (None, "", host.name):
            return host
    raise VerbError(f"HOST={wanted} is not known: there is {', '.join(host.name for host in found)}")


def edge(target: Target, host: Host) -> str:
    """URL of a host's edge as this machine reaches it, without a slash at the end."""
    if host.domain:
        return f"https://{host.domain}"
    if target.is_sandbox:
        config = Config()
        container = inspect("container", f"{config.name}-{host.instance_id}")
        if container and container["HostConfig"]["PortBindings"]:
            return f"http://127.0.0.1:{config.edge_port}"
    return f"http://{host.address}"


def ssh(target: Target, host: Host, command: str = "", *options: str) -> list[str]:
    """The command line of ``ssh`` to a host, where a command is never taken for an option."""
    key = target.variables.get("ANSIBLE_PRIVATE_KEY_FILE")
    return [
        *("ssh", "-o", f"HostKeyAlias={host.instance_id}", "-o", f"UserKnownHostsFile={target.state}/known_hosts"),
        *("-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"),
        *(["-i", key] if key else []),
        *options,
        "--",
        f"{host.user}@{host.address}",
        *([command] if command else []),
    ]


def run(target: Target, host: Host, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs one command on a host and returns what it printed; it is not checked."""
    return subprocess.run(
        ssh(target, host, command),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def greet(target: Target, timeout: float = 300) -> list[Host]:
    """Waits until every host lets us in, which pins its key: mitogen talks to no host whose key is unknown.

    Args:
        timeout: seconds that a host may take to boot.

    Raises:
        VerbError: there is no host, or one does not let us in: what SSH said.
    """
    found = hosts(target)
    if not found:
        raise VerbError("no host is running: run `make up`")
    deadline = time.monotonic() + timeout
    for host in found:
        while (done := run(target, host, "true")).returncode:
            if time.monotonic() > deadline:
                said = (done.stderr.strip().splitlines() or ["no answer"])[-1]
                raise VerbError(f"{host.user}@{host.address} does not let us in: {said}")
            time.sleep(1)
    return found


def end_connections(target: Target) -> None:
    """Ends the SSH connections that Ansible keeps open between runs."""
    for socket in (target.state / "ssh" / "control").glob("*"):
        command = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "host"]
        subprocess.run(command, capture_output=True, check=False)
