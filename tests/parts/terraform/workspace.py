"""A copy of terraform/ for one test, so that a sandbox that is up is not disturbed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.parts.terraform.emulator import ENVIRONMENT, ROOT, Emulator
from verbs.environment import provider_mirror

PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJo5yBd1s1Hk1Gg5Nq1ZbFq1t4cP8v3m4w0m5n6p7q8R test"
LEFT_OUT = shutil.ignore_patterns(
    ".terraform", ".terraform.lock.hcl", "*.tfstate*", "*.tfvars", "backend_override.tf", "*.md"
)

# The folders' own tests: (part, name).
FILES = (
    ("host", "host"),
    ("host", "two_hosts"),
    ("host", "variables"),
    ("bootstrap", "bootstrap"),
    ("bootstrap", "variables"),
)


class Workspace:
    """terraform/ in a folder of its own, and Terraform's commands in it.

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
        self.environment = ours | emulator.environment() | {"TF_IN_AUTOMATION": "1", "TF_INPUT": "0"}
        mirror = provider_mirror()
        if mirror:
            configuration = folder / "terraform.rc"
            configuration.write_text(
                f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n'
            )
            self.environment["TF_CLI_CONFIG_FILE"] = str(configuration)
        elif "TF_CLI_CONFIG_FILE" in ENVIRONMENT:
            self.environment["TF_CLI_CONFIG_FILE"] = ENVIRONMENT["TF_CLI_CONFIG_FILE"]

    def start(self, folder: Path, *arguments: str) -> subprocess.Popen[str]:
        """Starts a Terraform command; its output is both streams together."""
        return subprocess.Popen(
            ["terraform", f"-chdir={folder}", *arguments, "-no-color"],
            env=self.environment,
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
