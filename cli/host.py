"""The hosts that EC2 lists, and SSH to them with the options that Ansible uses."""

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from cli.targets import Target
from cli.terraform import client
from common.docker import inspect
from common.errors import CommandError, last_line
from common.paths import ROOT

CONNECTION = ROOT / "inventory" / "group_vars" / "all" / "connection.yml"
BOOT_SECONDS = 300
# On a host, the command for the stack.
COMPOSE = "docker compose --project-directory /opt/comentarios"


@dataclass(frozen=True)
class Host:
    """One host, with its name in the inventory."""

    name: str
    address: str
    user: str
    instance_id: str
    domain: str = ""
    public: str = ""
    architecture: str = ""
    # The parameter with the database's URL, as Terraform knows it; empty for SQLite.
    database: str = ""


def hosts(target: Target) -> list[Host]:
    """Every running host that Terraform created, by one request to the EC2 API.

    inventory/aws_ec2.yml sends the same request; through Ansible it takes four seconds.

    Raises:
        CommandError: the folder of SSH's sockets belongs to another user.
    """
    # SSH keeps the hosts' keys in this folder.
    target.state.mkdir(parents=True, exist_ok=True)
    target.connections.mkdir(parents=True, exist_ok=True, mode=0o700)
    if target.connections.stat().st_uid != os.geteuid():
        # In /tmp, if the state folder's path is long: whoever made it could read along.
        raise CommandError(f"{target.connections} is another user's: remove it, or use a clone with a shorter path")
    filters = [
        {"Name": "tag:Project", "Values": [target.names.name]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    pages = client(target, "ec2").get_paginator("describe_instances").paginate(Filters=filters)
    found = [one for page in pages for group in page["Reservations"] for one in group["Instances"]]
    user = str(yaml.safe_load(CONNECTION.read_text())["ansible_user"])
    return sorted((_host(one, user) for one in found), key=lambda host: host.name)


def _host(instance: dict[str, Any], user: str) -> Host:
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    kind = "PrivateIpAddress" if tags.get("ssh_address") == "private" else "PublicIpAddress"
    return Host(
        tags.get("Name", instance["InstanceId"]),
        instance.get(kind, ""),
        user,
        instance["InstanceId"],
        tags.get("edge_domain", ""),
        instance.get("PublicIpAddress", ""),
        instance.get("Architecture", ""),
        tags.get("database_url_parameter", ""),
    )


def several(target: Target, name: str = "") -> list[Host]:
    """The host of this name, or all.

    Raises:
        CommandError: there is none, or none of that name.
    """
    found = hosts(target)
    if not found:
        raise CommandError("no host is running: run `make up`")
    wanted = [host for host in found if name in ("", host.name)]
    if not wanted:
        raise CommandError(f"HOST={name} is not known: the hosts are {', '.join(host.name for host in found)}")
    return wanted


def chosen(target: Target, name: str = "") -> Host:
    """The host of this name, or the first one.

    Raises:
        CommandError: there is none, or none of that name.
    """
    return several(target, name)[0]


def edge(target: Target, host: Host) -> str:
    """The URL by which this machine reaches a host's edge, without a slash at the end."""
    if host.domain:
        return f"https://{host.domain}"
    if target.sandbox:
        container = inspect("container", target.sandbox.host_name(host.instance_id))
        # A host keeps the port that it was created with, whatever EDGE_PORT is now.
        bindings = container["HostConfig"]["PortBindings"] if container else None
        if bindings:
            return f"http://127.0.0.1:{bindings['80/tcp'][0]['HostPort']}"
    return f"http://{host.address}"


def ssh(target: Target, host: Host, command: str = "", *options: str) -> list[str]:
    """The command line of ``ssh`` to a host. The remote command is never taken for an option."""
    key = target.variables.get("ANSIBLE_PRIVATE_KEY_FILE")
    # All commands within a minute share one connection. Its name is the instance's id, since addresses are reused.
    control = target.connections / host.instance_id
    return [
        # Of two values SSH takes the first, so the caller's come first. As in its files, paths with spaces need quotes.
        *("ssh", *options),
        *("-o", f"HostKeyAlias={host.instance_id}", "-o", f'UserKnownHostsFile="{target.state}/known_hosts"'),
        *("-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"),
        *("-o", "ControlMaster=auto", "-o", f'ControlPath="{control}"', "-o", "ControlPersist=60"),
        *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
        *(["-i", key] if key else []),
        "--",
        f"{host.user}@{host.address}",
        *([command] if command else []),
    ]


def forwards(target: Target, host: Host, ports: Mapping[str, int]) -> list[str]:
    """The command line of ``ssh`` that only forwards ports to the host's loopback.

    It has a connection of its own: a shared one would keep forwarding after the command ends.

    Args:
        ports: `127.0.0.1:PORT` of this machine, or the path of a socket → port of the host.
    """
    given = [part for here, there in ports.items() for part in ("-L", f"{here}:127.0.0.1:{there}")]
    options = ("ControlPath=none", "ExitOnForwardFailure=yes", "StreamLocalBindUnlink=yes")
    return ssh(target, host, "", "-N", *(part for option in options for part in ("-o", option)), *given)


def run(
    target: Target, host: Host, command: str, timeout: float = 60, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs a command on a host and returns its output; the exit status is not checked. `given`: its standard input."""
    command_line = ssh(target, host, command)
    try:
        # Whatever a server's banner is written in.
        return subprocess.run(
            command_line, capture_output=True, text=True, errors="replace", timeout=timeout, check=False, input=given
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command_line, 255, "", f"no answer within {timeout:.0f} s")


def wait_for_ssh(target: Target) -> list[Host]:
    """Waits until every host accepts SSH.

    Raises:
        CommandError: there is no host, or one does not accept the connection; why.
    """
    found = several(target)
    deadline = time.monotonic() + BOOT_SECONDS
    for host in found:
        while (done := run(target, host, "true")).returncode:
            if time.monotonic() > deadline:
                said = last_line(done.stderr, "no answer")
                raise CommandError(f"{host.user}@{host.address} does not accept SSH: {said}")
            time.sleep(1)
    return found


def end_connections(target: Target) -> None:
    """Ends the SSH connections that Ansible keeps open between runs."""
    for socket in target.connections.glob("*"):
        command = ["ssh", "-o", f'ControlPath="{socket}"', "-O", "exit", "host"]
        subprocess.run(command, capture_output=True, check=False)
