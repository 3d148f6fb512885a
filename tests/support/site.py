"""The site that the tests act on: the environment of their own sandbox, and the verbs in it."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli import host
from cli.host import Host
from cli.targets import Target
from common import ownership
from common.config import Config
from sandbox import server

ROOT = Path(__file__).resolve().parents[2]
# What the reason of a skipped test begins with, when it cannot be tried here.
NOT_RUN = "not run: "
# The tests' own sandbox, unless the caller chose one.
OWN = {
    "SANDBOX_NAME": "comentarios-test",
    "SANDBOX_SUBNET": "10.84.0.0/24",
    "SANDBOX_REGISTRY_PORT": "4569",
    "EDGE_PORT": "8089",
    "SANDBOX_STATE": str(ROOT / ".state" / "test"),
}


def beside(sandbox: Mapping[str, str], number: int) -> dict[str, str]:
    """The variables of the sandbox of pytest's worker of this number: beside those of the other workers, 0 as it is."""
    if not number:
        return dict(sandbox)
    subnet = ipaddress.ip_network(sandbox["SANDBOX_SUBNET"])
    return {
        "SANDBOX_NAME": f"{sandbox['SANDBOX_NAME']}-{number}",
        "SANDBOX_SUBNET": str(ipaddress.ip_network((int(subnet[0]) + number * subnet.num_addresses, subnet.prefixlen))),
        "SANDBOX_REGISTRY_PORT": str(int(sandbox["SANDBOX_REGISTRY_PORT"]) + 100 * number),
        "EDGE_PORT": str(int(sandbox["EDGE_PORT"]) + 100 * number),
        "SANDBOX_STATE": f"{sandbox['SANDBOX_STATE']}-{number}",
    }


@dataclass(frozen=True)
class Site:
    """The whole site, up.

    Attributes:
        edge: URL of the host's edge, without a slash at the end.
        target: where the verbs act.
        host: the host, as the inventory knows it.
    """

    edge: str
    target: Target
    host: Host

    def ssh(self, command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs a command on the host; not checked."""
        return host.run(self.target, self.host, command, timeout)

    def play(
        self, *options: str, book: str = "site.yml", env: Mapping[str, str] | None = None, **variables: object
    ) -> subprocess.CompletedProcess[str]:
        """Runs a playbook on the site's hosts, with standard error in its output; not checked.

        Args:
            env: environment variables, which override the target's.
            variables: role variables, which override all others.
        """
        command = ["ansible-playbook", book, *options, "--extra-vars", json.dumps(variables)]
        return run(command, self.target.environment() | dict(env or {}), 300)

    def on(self, other: Host) -> Site:
        """The same site with another of its hosts."""
        return dataclasses.replace(self, host=other)

    def make(self, *arguments: str, timeout: float = 900, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a verb with standard error in its output; not checked."""
        return make(*arguments, timeout=timeout, **variables)


def make(*arguments: str, timeout: float = 900, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a verb; a variable that is given as an empty string is taken out of its environment."""
    return run(["make", *arguments], environment(variables), timeout)


def run(
    command: Sequence[str | Path], env: Mapping[str, str] | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command in the checkout's root, with nothing to read and standard error in its output; not checked.

    Args:
        env: the whole of its environment; ours when None.
        timeout: seconds; `subprocess.TimeoutExpired` after them.
    """
    return subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )


def end_abandoned() -> None:
    """Removes the tests' sandbox that a run in another clone left when it was killed; not one that is in use."""
    elsewhere = ownership.owner(Config())
    if elsewhere and elsewhere != Config().state and not server._pid(Config(state=elsewhere)):
        variables = environment({"SANDBOX_STATE": str(elsewhere)})
        subprocess.run([sys.executable, "-m", "sandbox", "down"], cwd=ROOT, env=variables, check=True)


def environment(variables: dict[str, str]) -> dict[str, str]:
    """This environment with these variables; one that is empty is taken out."""
    # Under `make test`, make would take itself for its own child and print the folders that it enters and leaves.
    inherited = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    return {name: value for name, value in {**inherited, **variables}.items() if value or name not in variables}
