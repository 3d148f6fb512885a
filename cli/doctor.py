"""``make doctor``: every prerequisite and path, what was found, and what to do. ``make up`` asks the quick part."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cli import engine, program, terraform
from cli.errors import VerbError
from cli.targets import Target, provider_mirror
from sandbox import __main__ as sandbox
from sandbox import images, ownership, server
from sandbox.config import Config
from sandbox.docker import docker, inspect
from sandbox.errors import SandboxError
from sandbox.progress import say

GOOD, NOTE, BAD = "good", "note", "BAD"
NEEDED_MIB = 2048
OLDEST_ENGINE, OLDEST_TERRAFORM = (20, 10), (1, 10)
REGISTRIES = {
    "PyPI": ("https://pypi.org/simple/", "Python's packages: set PIP_INDEX_URL to a mirror"),
    "Docker Hub": (
        "https://registry-1.docker.io/v2/",
        "images of the stack: stand-ins are built from Debian's packages",
    ),
    "Debian": (
        "http://deb.debian.org/debian/dists/trixie/Release",
        "packages of the hosts: apt needs a mirror or proxy",
    ),
    "Terraform": ("https://registry.terraform.io/.well-known/terraform.json", "its provider: a mirror on this machine"),
}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    state: str
    found: str
    help: str = ""


def doctor(target: Target) -> int:
    """Prints the table; returns 1 when something would stop `make up`."""
    rows = [*quick(target), *slow(target)]
    widths = (max(len(row.what) for row in rows), 4)
    for row in rows:
        help_ = f": {row.help}" if row.help else ""
        say(f"{row.state:<{widths[1]}}  {row.what:<{widths[0]}}  {row.found}{help_}")
    return int(any(row.state == BAD for row in rows))


def require(target: Target) -> None:
    """The quick part, before anything is made.

    Raises:
        VerbError: what is missing first, and what to do.
    """
    for row in quick(target):
        if row.state == BAD:
            raise VerbError(f"{row.found}: {row.help}" if row.help else row.found)


def quick(target: Target) -> Iterator[Row]:
    """What this machine itself says, within two seconds."""
    yield _terraform()
    yield _locale(target)
    yield _memory()
    if not target.is_sandbox:
        yield _tried("credentials", lambda: f"AWS account {terraform.account(target)}")
        return
    yield (running := _engine())
    if running.state == GOOD:
        config = Config()
        yield _tried("whose sandbox", lambda: _claimed(config))
        yield _subnet(config)
        yield _tried("ports, disk", lambda: _free(config))


def _compose() -> Row:
    done = subprocess.run(["docker", "compose", "version", "--short"], capture_output=True, text=True, check=False)
    if done.returncode:
        return Row("compose", NOTE, "`docker compose` is missing", f"`make dev` fetches {program.COMPOSE.title}")
    return Row("compose", GOOD, done.stdout.strip())


def slow(target: Target) -> Iterator[Row]:
    """What has to be asked for elsewhere, and what `make up` does not need."""
    if shutil.which("docker"):
        yield _compose()
    with ThreadPoolExecutor() as pool:
        yield from pool.map(_registry, REGISTRIES)
    if target.is_sandbox:
        config = Config()
        if engine.answers() and server.answers(config):
            problem = blocked(config)
            yield Row("firewall", BAD if problem else GOOD, problem or "the hosts reach the sandbox's APIs")
        else:
            name, rule = firewall(config)
            yield Row("firewall", NOTE, f"{name}; tried when the sandbox is up", f"should it deny: `{rule}`")


def require_path(config: Config) -> None:
    """Tries the path from the hosts' network to the sandbox's APIs.

    Raises:
        VerbError: something denies it: which firewall, and the rule that lets it through.
    """
    if problem := blocked(config):
        raise VerbError(problem)


def blocked(config: Config) -> str:
    """Why a container of the sandbox's network does not reach the APIs; empty when it does."""
    ports = (config.aws_port, config.metadata_port)
    tries = "; ".join(f"timeout 3 bash -c '</dev/tcp/{config.gateway}/{port}' || echo {port}" for port in ports)
    running = docker(
        "ps", "--quiet", "--filter", f"label={config.label}", "--filter", f"name=^{config.name}-i-"
    ).split()
    if running:
        said = docker("exec", running[0], "bash", "-c", tries, check=False)
    else:
        base = images.chosen(config).get("base") or images.base(config)
        said = docker("run", "--rm", "--network", config.name, "--label", config.label, base, "bash", "-c", tries)
    closed = said.split()
    if not closed:
        return ""
    name, rule = firewall(config)
    return (
        f"the hosts ({config.subnet}) do not reach the sandbox on {config.gateway}, port {' and '.join(closed)}: "
        f"{name} denies what comes in; let it through with `{rule}`"
    )


def firewall(config: Config) -> tuple[str, str]:
    """This machine's firewall, and the command that lets the sandbox's hosts through to its APIs."""
    source, to = str(config.subnet), config.gateway
    ports = sorted((config.aws_port, config.metadata_port))
    if _says(["ufw", "status"], "Status: active") or _enabled(Path("/etc/ufw/ufw.conf"), "ENABLED=yes"):
        listed = ",".join(map(str, ports))
        return "ufw", f"sudo ufw allow proto tcp from {source} to {to} port {listed}"
    if _says(["firewall-cmd", "--state"], "running"):
        return (
            "firewalld",
            f"sudo firewall-cmd --permanent --zone=trusted --add-source={source} && sudo firewall-cmd --reload",
        )
    listed = ",".join(map(str, ports))
    rule = f"sudo iptables -I INPUT -p tcp -s {source} -d {to} -m multiport --dports {listed} -j ACCEPT"
    return "a firewall (iptables or nftables)", rule


def _says(command: list[str], wanted: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return wanted in done.stdout


def _enabled(file: Path, line: str) -> bool:
    # `ufw status` is for root alone, its file for everybody.
    try:
        return line in file.read_text().splitlines()
    except OSError:
        return False


def _tried(what: str, attempt: Callable[[], str]) -> Row:
    try:
        return Row(what, GOOD, attempt())
    except (VerbError, SandboxError) as error:
        return Row(what, BAD, str(error))


def _claimed(config: Config) -> str:
    ownership.check(config)
    return f"{config.name}, in {config.state}"


def _free(config: Config) -> str:
    sandbox._check(config)
    return f"{config.edge_port} and {config.registry_port} of 127.0.0.1, {sandbox.NEEDED_GIB} GiB or more free"


def _terraform() -> Row:
    if not shutil.which("terraform"):
        instead = "OpenTofu takes its place" if shutil.which("tofu") else f"`make up` fetches {program.TERRAFORM.title}"
        return Row("terraform", NOTE, "terraform is missing", instead)
    done = subprocess.run(["terraform", "version", "-json"], capture_output=True, text=True, check=False)
    found = re.search(r'"terraform_version":\s*"(\d+)\.(\d+)[^"]*"', done.stdout)
    if not found:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return Row("terraform", BAD, f"`terraform version` fails: {last}", "install Terraform 1.10 or later")
    if (int(found[1]), int(found[2])) < OLDEST_TERRAFORM:
        version = f"{found[1]}.{found[2]}"
        return Row("terraform", BAD, f"terraform is {version}", "install 1.10 or later: the lock of its state needs it")
    return Row("terraform", GOOD, found[0].split('"')[3])


def _locale(target: Target) -> Row:
    if replaced := target.variables.get("LC_ALL"):
        return Row("locale", NOTE, f"no UTF-8 locale is in force: children get {replaced}")
    return Row("locale", GOOD, os.environ.get("LC_ALL") or os.environ.get("LANG") or "UTF-8")


def _memory() -> Row:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if not found:
        return Row("memory", NOTE, "not known here")
    free = int(found[1]) // 1024
    if free < NEEDED_MIB:
        return Row("memory", NOTE, f"{free} MiB free", f"{NEEDED_MIB} MiB are needed for the host and the builds")
    return Row("memory", GOOD, f"{free} MiB free")


def _engine() -> Row:
    if not engine.answers():
        if engine.denied():
            return Row("engine", BAD, "the Docker Engine runs, but you may not use it", "join the group docker")
        return Row("engine", NOTE, "none answers", "`make up` installs or starts one as root; else start it")
    known = json.loads(docker("info", "--format", "{{json .}}"))
    version, cgroup = known["ServerVersion"], known.get("CgroupVersion", "?")
    found = f"Docker Engine {version}, cgroup v{cgroup}, {known['OSType']}/{known['Architecture']}"
    numbers = tuple(int(one) for one in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST_ENGINE:
        return Row("engine", BAD, found, "20.10 or later is needed: a host's own cgroup came with it")
    return Row("engine", GOOD, found)


def _subnet(config: Config) -> Row:
    if inspect("network", config.name):
        return Row("subnet", GOOD, f"{config.subnet}, the sandbox's own")
    for name, network in _networks():
        if network.overlaps(config.subnet):
            return Row(
                "subnet",
                BAD,
                f"{config.subnet} overlaps {network} of {name}",
                f"set SANDBOX_SUBNET to a network that is free (it is {config.subnet})",
            )
    return Row("subnet", GOOD, f"{config.subnet} is free")


def _networks() -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    """Every IPv4 network that Docker or this machine's routes have, but the default route."""
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


def _registry(name: str) -> Row:
    url, help_ = REGISTRIES[name]
    if name == "PyPI" and os.environ.get("PIP_INDEX_URL"):
        url = os.environ["PIP_INDEX_URL"]
    if name == "Terraform" and (mirror := provider_mirror()):
        return Row(name, GOOD, f"a mirror: {mirror}")
    try:
        urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": "comentarios"}), timeout=5).close()
    except urllib.error.HTTPError as error:
        if error.code not in {401, 405}:
            return Row(name, NOTE, f"answers {error.code}", help_)
    except OSError as error:
        return Row(name, NOTE, f"cannot be reached ({getattr(error, 'reason', error)})", help_)
    return Row(name, GOOD, "can be reached")
