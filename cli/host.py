"""The hosts that EC2 lists, and SSH to them with the very options that Ansible uses."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from botocore.exceptions import BotoCoreError, ClientError

from cli.errors import VerbError
from cli.targets import ROOT, Target
from cli.terraform import client
from sandbox.config import Config
from sandbox.docker import inspect

CONNECTION = ROOT / "inventory" / "group_vars" / "all" / "connection.yml"


@dataclass(frozen=True)
class Host:
    """One host, under the name that it has in the inventory."""

    name: str
    address: str
    user: str
    instance_id: str
    domain: str = ""
    architecture: str = ""


def hosts(target: Target) -> list[Host]:
    """Every running host that Terraform made, by one question to the EC2 API.

    The same that inventory/aws_ec2.yml asks; through Ansible it takes four seconds.

    Raises:
        VerbError: EC2 does not answer.
    """
    # SSH keeps the hosts' keys in it.
    target.state.mkdir(parents=True, exist_ok=True)
    target.connections.mkdir(parents=True, exist_ok=True, mode=0o700)
    filters = [
        {"Name": "tag:Project", "Values": ["comentarios"]},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    try:
        pages = client(target, "ec2").get_paginator("describe_instances").paginate(Filters=filters)
        found = [one for page in pages for group in page["Reservations"] for one in group["Instances"]]
    except (BotoCoreError, ClientError) as error:
        raise VerbError(f"EC2 does not list the hosts: {error}") from None
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
        instance.get("Architecture", ""),
    )


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
        # As it was made, whatever EDGE_PORT says now.
        bindings = container["HostConfig"]["PortBindings"] if container else None
        if bindings:
            return f"http://127.0.0.1:{bindings['80/tcp'][0]['HostPort']}"
    return f"http://{host.address}"


def ssh(target: Target, host: Host, command: str = "", *options: str) -> list[str]:
    """The command line of ``ssh`` to a host, where a command is never taken for an option."""
    key = target.variables.get("ANSIBLE_PRIVATE_KEY_FILE")
    # One connection for all that is asked within a minute. It is named after the instance: its address may be another's
    # tomorrow.
    control = target.connections / host.instance_id
    return [
        # SSH takes the first of two values: the caller's. It reads options as it does its files: a path with a space
        # stands in quotes.
        *(
            "ssh",
            *options,
            "-o",
            f"HostKeyAlias={host.instance_id}",
            "-o",
            f'UserKnownHostsFile="{target.state}/known_hosts"',
        ),
        *("-o", "StrictHostKeyChecking=accept-new", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"),
        *("-o", "ControlMaster=auto", "-o", f'ControlPath="{control}"', "-o", "ControlPersist=60"),
        *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
        *(["-i", key] if key else []),
        "--",
        f"{host.user}@{host.address}",
        *([command] if command else []),
    ]


def forwards(target: Target, host: Host, ports: Mapping[str, int]) -> list[str]:
    """The command line of ``ssh`` that only forwards to ports of the host's loopback.

    Over a connection of its own: what a shared one forwards would outlive the command.

    Args:
        ports: `127.0.0.1:PORT` of this machine, or the path of a socket → port of the host.
    """
    given = [part for here, there in ports.items() for part in ("-L", f"{here}:127.0.0.1:{there}")]
    options = ("ControlPath=none", "ExitOnForwardFailure=yes", "StreamLocalBindUnlink=yes")
    return ssh(target, host, "", "-N", *(part for option in options for part in ("-o", option)), *given)


def run(target: Target, host: Host, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Runs one command on a host and returns what it printed; it is not checked."""
    command_line = ssh(target, host, command)
    try:
        return subprocess.run(
            command_line, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command_line, 255, "", f"no answer within {timeout:.0f} s")


def greet(target: Target, timeout: float = 300) -> list[Host]:
    """Waits until every host lets us in.

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
    for socket in target.connections.glob("*"):
        command = ["ssh", "-o", f'ControlPath="{socket}"', "-O", "exit", "host"]
        subprocess.run(command, capture_output=True, check=False)
