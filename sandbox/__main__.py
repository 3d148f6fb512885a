"""The sandbox's command: ``python -m sandbox up | sync | status | down``; ``up`` is start, build and sync."""

import argparse
import http.client
import json
import os
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial

import yaml

from common import files, ownership
from common.check import require
from common.config import REGION, Config
from common.docker import docker, inspect
from common.errors import CommandError
from common.images import base as base_image
from common.images import newest
from common.progress import fail, say, step
from sandbox import checks, ec2, elb, hosts, images, overview, registry, server

# Where `common.config.stored` says, for Ansible.
REPOSITORY = (
    "{{ ecr_registry }}/"
    f"{{{{ '' if ec2_placement.region == '{REGION}' else ec2_placement.region ~ '/' }}}}"
    "{{ project_name }}-api"
)


def up(config: Config) -> None:
    """Starts the missing parts of the sandbox and creates the hosts that EC2 lists."""
    start(config)
    build(config)
    sync(config)


def start(config: Config) -> None:
    """Starts the network, ECR's store and the APIs: everything that Terraform needs."""
    ownership.check(config)
    if ownership.left_over(config):
        if host := next(iter(hosts.names(config)), None) or hosts.has_volumes(config):
            raise CommandError(
                f"the state folder of the sandbox {config.name}, {ownership.owner(config) or config.state}, is gone, "
                f"but {host} still exists and may hold comments: restore the folder, or remove everything with "
                "`make down`; nothing was changed or removed"
            )
        with step("sandbox: removing the leftovers of an earlier sandbox with this name"):
            _remove(config)
    require(checks.before_start(config))
    ownership.record(config)
    with step(f"sandbox: AWS on {config.endpoint}, ECR on {config.push_address}, network {config.subnet}"):
        _network(config)
        base = base_image(config.state)
        registry_image = images.ensure(config, "registry", base)
        images.choose(config, base=base, registry=registry_image)
        registry.up(config, registry_image)
        server.start(config)
    if problem := checks.blocked(config):
        raise CommandError(problem)


def build(config: Config) -> None:
    """Builds the hosts' image, and finds or builds the stack's. After that, the hosts that EC2 lists are created."""
    base = base_image(config.state)
    with step("sandbox: image of the hosts"):
        images.choose(config, host=images.ensure(config, "host", base))
    with step("sandbox: images of the stack"):
        # A host is a container: it shares this machine's swap and clock.
        variables = {"base_swap_mb": 0, "base_time_sync": False, "stack_api_repository": REPOSITORY}
        variables |= images.stack(config, base)
        # This inventory adds variables but no hosts.
        files.write(config.state / "inventory" / "hosts.yml", "all: {}\n")
        files.write(
            config.state / "inventory" / "group_vars" / "all.yml",
            "# Written by `python -m sandbox up` for this machine.\n" + yaml.safe_dump(variables, sort_keys=True),
        )


def sync(config: Config) -> None:
    """Creates, starts, stops and removes hosts as EC2 lists them; waits for their port 22, and for load balancers."""
    if not server.answers(config):
        raise CommandError("the sandbox is not up: run `make up` (or `python -m sandbox up`)")
    host_image = images.chosen(config).get("host")
    if not host_image:
        raise CommandError("the hosts' image is not built: run `make up` (or `python -m sandbox up`)")
    with step("sandbox: the hosts that EC2 lists"):
        for line in hosts.sync(config, host_image):
            say(f"  {line}")
        for instance in ec2.instances(config):
            if instance.state == "running":
                where = f"{instance.id} does not answer on {instance.private_ip}:22"
                _wait(partial(_has_ssh, instance), f"{where} within 60 s: see its `docker logs`")
        for balancer in elb.balancers(config):
            where = f"load balancer {balancer['DNSName']} at {elb.url(balancer)}"
            # The process of the APIs makes them, which alone can read certificates.
            _wait(partial(elb.answers, balancer), f"{where} does not answer within 60 s: see {server.log(config)}")
            say(f"  {where}")


def status(config: Config) -> int:
    """Prints one line per part; returns 1 if one is not healthy."""
    # The engine, ECR's store and the APIs are asked at the same time.
    with ThreadPoolExecutor() as pool:
        containers, stored = pool.submit(hosts.names, config), pool.submit(registry.tags, config)
        blocked = pool.submit(checks.blocked, config) if server.running(config) else None
        told = overview.ask(config)
        present, problem = containers.result(), blocked.result() if blocked else ""
    answers, listed = told is not None, {instance.id: instance for instance in told.instances} if told else {}
    hint = ": the process does not run; no data is lost; `make up` restarts it" if present else ": run `make up`"
    parts = [
        ("AWS APIs", answers, config.endpoint + ("" if answers else hint)),
        ("ECR", stored.result() is not None, config.push_address),
    ]
    for identity, instance in listed.items():
        running = present.get(identity, {}).get("State", {}).get("Running", False)
        healthy = running == (instance.state == "running")
        parts.append((f"host {identity}", healthy, f"{instance.type} {instance.private_ip} {instance.state}"))
    for identity in sorted(present.keys() - listed.keys()):
        known = "EC2 does not list it" if answers else "its state in EC2 is unknown"
        parts.append((f"host {identity}", False, f"container {present[identity]['State']['Status']}; {known}"))
    for balancer in told.balancers if told else []:
        where = f"{elb.url(balancer)} ({balancer['DNSName']})"
        parts.append((f"load balancer {balancer['LoadBalancerName']}", elb.answers(balancer), where))
    if answers and problem:
        parts.append(("firewall", False, problem))
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
            # The API's own body: the edge may answer in its place.
            return b'"status":"SUCCESS"' in reply.read(1000)
    except (OSError, http.client.HTTPException):
        return False


def check(config: Config) -> None:
    """Prints the checks for ``make doctor`` as JSON."""
    print(json.dumps([asdict(one) for one in checks.rows(config)]))


def down(config: Config) -> None:
    """Removes every container, volume, network and process of this sandbox and its state folder, and nothing else.

    Raises:
        CommandError: the state folder belongs to another sandbox, or the sandbox to another folder.
    """
    ownership.check(config)
    with step("sandbox: removing hosts, ECR's store, APIs, network and state"):
        server.stop(config)
        _remove(config)
        shutil.rmtree(config.state, ignore_errors=True)


def _remove(config: Config) -> None:
    """Removes everything with the sandbox's label."""
    host_image = images.chosen(config).get("host") or newest("host")
    if host_image:
        hosts.remove_all(config, host_image)
    for container in docker("ps", "--all", "--quiet", "--filter", f"label={config.label}").split():
        docker("rm", "--force", "--volumes", container)
    for volume in docker("volume", "ls", "--quiet", "--filter", f"label={config.label}").split():
        docker("volume", "rm", "--force", volume)
    if network := inspect("network", config.name):
        if strangers := ", ".join(sorted(one["Name"] for one in network["Containers"].values())):
            raise CommandError(
                f"{strangers} in the network {config.name} is not part of the sandbox: remove it, "
                "then run the same command again"
            )
        _remove_network(config.name)


def _remove_network(name: str) -> None:
    """Removes a network whose containers are gone.

    An engine may still be freeing an address, and a removal that fails half-way may leave no network.
    """
    deadline = time.monotonic() + 10
    while inspect("network", name):
        try:
            docker("network", "rm", name)
        except CommandError as error:
            if time.monotonic() > deadline:
                raise
            say(f"  {error}; trying again")
            time.sleep(0.5)


def _network(config: Config) -> None:
    found = inspect("network", config.name)
    if found:
        subnet = found["IPAM"]["Config"][0]["Subnet"]
        if subnet != str(config.subnet):
            raise CommandError(
                f"the sandbox is up on {subnet}, SANDBOX_SUBNET is {config.subnet}: `make down` first, "
                f"or set SANDBOX_SUBNET={subnet}"
            )
        return
    try:
        docker(
            *("network", "create", "--label", config.label, "--label", f"{ownership.STATE_LABEL}={config.state}"),
            *("--subnet", str(config.subnet), "--gateway", config.gateway, config.name),
        )
    except CommandError as error:
        raise CommandError(f"{error}: set SANDBOX_SUBNET to a free network (it is {config.subnet})") from None


def _has_ssh(instance: ec2.Instance) -> bool:
    try:
        with socket.create_connection((instance.private_ip, 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _wait(attempt: Callable[[], bool], error: str) -> None:
    """Waits up to 60 s until an attempt succeeds."""
    deadline = time.monotonic() + 60
    while not attempt():
        if time.monotonic() > deadline:
            raise CommandError(error)
        time.sleep(0.3)


COMMANDS: dict[str, Callable[[Config], int | None]] = {
    command.__name__: command for command in (up, start, build, sync, status, check, down, server.serve)
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    command = parser.parse_args().command
    # Its files are private: the journal holds passwords, backups and Terraform's states.
    os.umask(0o077)
    try:
        return COMMANDS[command](Config()) or 0
    except CommandError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        return fail("interrupted: run the same command again to continue")


if __name__ == "__main__":
    sys.exit(main())
