"""The sandbox's command: ``python -m sandbox up | sync | status | down``; ``up`` is start, build and sync."""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import socket
import sys
import time
import urllib.request

import yaml

from sandbox import ec2, files, hosts, images, ownership, registry, server
from sandbox.config import Config
from sandbox.docker import docker, inspect
from sandbox.errors import SandboxError
from sandbox.progress import fail, say, step

NEEDED_GIB = 6  # images, one host's own images, and room to work


def up(config: Config) -> None:
    """Starts what is missing of the sandbox and makes the hosts that EC2 lists."""
    start(config)
    build(config)
    sync(config)


def start(config: Config) -> None:
    """Starts the network, ECR's store and the APIs: all that Terraform needs."""
    ownership.check(config)
    if ownership.left_over(config):
        if host := next(iter(hosts.names(config)), None) or hosts.has_volumes(config):
            raise SandboxError(
                f"the state of the sandbox {config.name} is gone, {ownership.owner(config) or config.state}, and its "
                f"{host} is there, which may hold comments: put the folder back, or `make down` removes them; "
                "nothing was changed or removed"
            )
        with step("sandbox: removing what one of this name left behind, whose state is gone"):
            _remove(config)
    ownership.record(config)
    _check(config)
    with step(f"sandbox: AWS on {config.endpoint}, ECR on {config.push_address}, network {config.subnet}"):
        _network(config)
        base = images.base(config)
        registry_image = images.ensure(config, "registry", base)
        images.choose(config, base=base, registry=registry_image)
        registry.up(config, registry_image)
        server.start(config)


def build(config: Config) -> None:
    """Builds the hosts' image, and finds or builds the stack's; from then on the hosts that EC2 lists are made."""
    base = images.base(config)
    with step("sandbox: image of the hosts"):
        images.choose(config, host=images.ensure(config, "host", base))
    with step("sandbox: images of the stack"):
        # A host here is a container: swap would be the machine's, and so is the clock.
        variables = {"base_swap_mb": 0, "base_time_sync": False} | images.stack(config, base)
        # An inventory that adds variables and no hosts.
        files.write(config.state / "inventory" / "hosts.yml", "all: {}\n")
        files.write(
            config.state / "inventory" / "group_vars" / "all.yml",
            "# Written by `python -m sandbox up`: what this machine's situation asks for.\n"
            + yaml.safe_dump(variables, sort_keys=True),
        )


def sync(config: Config) -> None:
    """Makes the hosts what the EC2 API lists, and waits until each answers on port 22 (60 s at most)."""
    if not server.answers(config):
        raise SandboxError("the sandbox is not up: run `make up` (or `python -m sandbox up`)")
    host_image = images.chosen(config).get("host")
    if not host_image:
        raise SandboxError("the hosts' image is not built: run `make up` (or `python -m sandbox up`)")
    for line in hosts.sync(config, host_image):
        say(f"  {line}")
    for instance in ec2.instances(config):
        if instance.state == "running":
            _wait_for_ssh(instance)


def status(config: Config) -> int:
    """Prints a line for every part; returns 1 when one is not healthy."""
    answers = server.answers(config)
    present = hosts.names(config)
    hint = "" if answers else ": the process does not run, nothing is lost, `make up` starts it again"
    parts = [
        ("AWS APIs", answers, config.endpoint + (hint if present else "")),
        ("ECR", registry.tags(config) is not None if config.state.exists() else False, config.push_address),
    ]
    listed = {instance.id: instance for instance in ec2.instances(config)} if answers else {}
    for identity, instance in listed.items():
        running = present.get(identity, {}).get("State", {}).get("Running", False)
        healthy = running == (instance.state == "running")
        parts.append((f"host {identity}", healthy, f"{instance.type} {instance.private_ip} {instance.state}"))
    for identity in sorted(present.keys() - listed.keys()):
        known = "EC2 does not list it" if answers else "what EC2 says of it is not known"
        parts.append((f"host {identity}", False, f"container {present[identity]['State']['Status']}; {known}"))
    if present and not answers:
        serves = _serves(config)
        parts.append(
            ("edge", serves, f"http://127.0.0.1:{config.edge_port} {'serves' if serves else 'does not serve'}")
        )
    for name, healthy, where in parts:
        say(f"{'healthy  ' if healthy else 'UNHEALTHY'}  {name}  {where}")
    return 0 if all(healthy for _, healthy, _ in parts) else 1


def _serves(config: Config) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{config.edge_port}/readyz", timeout=5) as reply:
            # The API's own word: an edge may answer in its place.
            return b'"status":"SUCCESS"' in reply.read(1000)
    except (OSError, http.client.HTTPException):
        return False


def down(config: Config) -> None:
    """Removes every container, volume, network and process of this sandbox, and its state; nothing else.

    Raises:
        SandboxError: the state folder is another sandbox's, or the sandbox another folder's.
    """
    ownership.check(config)
    with step("sandbox: removing hosts, ECR's store, APIs, network and state"):
        server.stop(config)
        _remove(config)
        shutil.rmtree(config.state, ignore_errors=True)


def _remove(config: Config) -> None:
    """Removes everything that carries the sandbox's label."""
    host_image = images.chosen(config).get("host") or images.newest("host")
    if host_image:
        hosts.remove_all(config, host_image)
    for container in docker("ps", "--all", "--quiet", "--filter", f"label={config.label}").split():
        docker("rm", "--force", "--volumes", container)
    for volume in docker("volume", "ls", "--quiet", "--filter", f"label={config.label}").split():
        docker("volume", "rm", "--force", volume)
    if network := inspect("network", config.name):
        if strangers := ", ".join(sorted(one["Name"] for one in network["Containers"].values())):
            raise SandboxError(
                f"{strangers} in the network {config.name} was not made here: remove it, then the same command again"
            )
        docker("network", "rm", config.name)


def _check(config: Config) -> None:
    """Everything that would make `up` fail later, as one line now."""
    root = docker("info", "--format", "{{.DockerRootDir}}").strip()
    try:
        free = shutil.disk_usage(root).free / 2**30
    except OSError:  # an engine elsewhere, whose disk is not ours to see
        free = NEEDED_GIB
    if free < NEEDED_GIB:
        raise SandboxError(f"{root} has {free:.1f} GiB free, {NEEDED_GIB} are needed: make room on that disk")
    ours = {
        binding["HostPort"]
        for name in docker("ps", "--all", "--quiet", "--filter", f"label={config.label}").split()
        for container in filter(None, [inspect("container", name)])
        for bindings in (container["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings
    }
    for port, variable in ((config.registry_port, "SANDBOX_REGISTRY_PORT"), (config.edge_port, "EDGE_PORT")):
        if str(port) not in ours and _taken("127.0.0.1", port):
            raise SandboxError(f"port {port} of 127.0.0.1 is taken: set {variable} to a free one")


def _network(config: Config) -> None:
    found = inspect("network", config.name)
    if found:
        subnet = found["IPAM"]["Config"][0]["Subnet"]
        if subnet != str(config.subnet):
            raise SandboxError(
                f"the sandbox is up on {subnet}, SANDBOX_SUBNET is {config.subnet}: `make down` first, "
                f"or set SANDBOX_SUBNET={subnet}"
            )
        return
    try:
        docker(
            *("network", "create", "--label", config.label, "--label", f"{ownership.STATE_LABEL}={config.state}"),
            *("--subnet", str(config.subnet), "--gateway", config.gateway, config.name),
        )
    except SandboxError as error:
        raise SandboxError(f"{error}: set SANDBOX_SUBNET to a network that is free (it is {config.subnet})") from None
    for port, variable in (
        (config.aws_port, "SANDBOX_AWS_PORT"),
        (config.metadata_port, "SANDBOX_METADATA_PORT"),
    ):
        if _taken(config.gateway, port):
            docker("network", "rm", config.name)
            raise SandboxError(f"port {port} of {config.gateway} is taken: set {variable} to a free one")


def _taken(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return True
    return False


def _wait_for_ssh(instance: ec2.Instance) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((instance.private_ip, 22), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(0.3)
    raise SandboxError(f"{instance.id} does not answer on {instance.private_ip}:22 within 60 s: see `docker logs`")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("command", choices=["up", "start", "build", "sync", "status", "down", "serve"])
    command = parser.parse_args().command
    # What it keeps is nobody else's business: the journal holds passwords, backups and Terraform's states.
    os.umask(0o077)
    try:
        config = Config()
        action = {
            "up": up,
            "start": start,
            "build": build,
            "sync": sync,
            "status": status,
            "down": down,
            "serve": server.serve,
        }[command]
        return action(config) or 0
    except SandboxError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        return fail("interrupted: run the same command again, it carries on")


if __name__ == "__main__":
    sys.exit(main())
