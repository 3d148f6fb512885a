"""A copy of terraform/ for one test, so that a sandbox that is up is not disturbed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cli.targets import provider_mirror
from tests.parts.terraform.emulator import ENVIRONMENT, ROOT, Emulator

T = TypeVar("T")
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJo5yBd1s1Hk1Gg5Nq1ZbFq1t4cP8v3m4w0m5n6p7q8R test"
LEFT_OUT = shutil.ignore_patterns(
    ".terraform", ".terraform.lock.hcl", "*.tfstate*", "*.tfvars", "backend_override.tf", "*.md"
)
MIRROR = provider_mirror()


class Workspace:
    """terraform/ in a folder of its own, and Terraform's commands in it; end it with `close`.

    Args:
        folder: an empty folder.
        emulator: where the AWS APIs are.
    """

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.host = folder / "terraform"
        self.bootstrap = self.host / "bootstrap"
        self.log = ""
        shutil.copytree(ROOT / "terraform", self.host, ignore=LEFT_OUT)
        ours = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(("AWS_", "TF_"))}
        # Go collects garbage a quarter as often, which takes a quarter of Terraform's time.
        own = {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0", "GOGC": "400"}
        self.environment = ours | emulator.environment() | own
        if not MIRROR and "TF_CLI_CONFIG_FILE" in ENVIRONMENT:
            self.environment["TF_CLI_CONFIG_FILE"] = ENVIRONMENT["TF_CLI_CONFIG_FILE"]
        # Whose key Terraform uses in a folder, where it is not the administrator's.
        self.keys: dict[Path, str] = {}
        self._providers: dict[str, tuple[subprocess.Popen[str], str]] = {}

    def start(self, folder: Path, *arguments: str) -> subprocess.Popen[str]:
        """Starts a Terraform command; its output is both streams together."""
        return subprocess.Popen(
            ["terraform", f"-chdir={folder}", *arguments, "-no-color"],
            env=self._environment(folder) | self._attached(self._environment(folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Waits for a command: its exit status and its output, which joins the log."""
        try:
            output, _ = process.communicate(timeout=900)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            output += "killed: it did not end in 900 s"
        self.log += output
        return process.returncode, output

    def run(self, folder: Path, *arguments: str) -> str:
        """Runs a Terraform command to its end: its output.

        Raises:
            AssertionError: it failed; the message is its output.
        """
        status, output = self.finish(self.start(folder, *arguments))
        assert status == 0, f"terraform {' '.join(arguments)} in {folder.name}/:\n{output}"
        return output

    def close(self) -> None:
        """Ends the providers."""
        for provider, _ in self._providers.values():
            provider.kill()
            provider.wait(60)

    def _environment(self, folder: Path) -> dict[str, str]:
        key = self.keys.get(folder)
        return self.environment | ({"AWS_ACCESS_KEY_ID": key} if key else {})

    def _attached(self, environment: dict[str, str]) -> dict[str, str]:
        """Names a provider that runs already, one for each key: it takes AWS's from its own environment.

        Terraform starts its provider four times for a command, and reads its 700 MB for a checksum each time: that
        was half of the processor's time in these tests.
        """
        if not MIRROR:
            return {}
        key = environment["AWS_ACCESS_KEY_ID"]
        if key not in self._providers:
            (binary,) = MIRROR.glob(f"*/hashicorp/aws/{_provider_version()}/*/terraform-provider-aws_*")
            provider = subprocess.Popen(
                [binary, "-debug"],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert provider.stdout
            address = next(filter(None, (re.search("='(.*)'", line) for line in provider.stdout)))[1]
            self._providers[key] = provider, address
        return {"TF_REATTACH_PROVIDERS": self._providers[key][1]}


def inside(folder: Path, work: Callable[[Workspace, Emulator], T]) -> T:
    """Does something in a workspace of its own, with AWS's APIs of its own."""
    folder.mkdir()
    emulator = Emulator(folder)
    workspace = Workspace(folder, emulator)
    try:
        return work(workspace, emulator)
    finally:
        workspace.close()
        emulator.stop()


def _provider_version() -> str:
    found = re.search(r"^ +version += \"(.*)\"", (ROOT / "terraform" / "versions.tf").read_text(), re.MULTILINE)
    assert found
    return found[1]
