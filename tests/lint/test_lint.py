"""The linters, each with no finding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.site import ROOT, run
from verbs import terraform
from verbs.environment import target

BIN = Path(sys.executable).parent


def _tracked(*patterns: str) -> list[str]:
    """Files of these patterns that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split() if (ROOT / name).is_file()]


WORKFLOWS = _tracked(".github/workflows/*.yml")

COMMANDS = {
    "ruff check": [BIN / "ruff", "check"],
    "ruff format": [BIN / "ruff", "format", "--check"],
    "yamllint": [BIN / "yamllint", "--strict", "."],
    "ansible-lint": [BIN / "ansible-lint", "--strict", "--offline", "--profile", "production"],
    "GitHub's schema": [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS],
    "zizmor": [BIN / "zizmor", "--offline", "--no-progress", *WORKFLOWS],
    "terraform fmt": ["terraform", "fmt", "-check", "-recursive", "-diff", "terraform"],
    "hadolint": [BIN / "hadolint", *_tracked("*Dockerfile")],
    "shellcheck": [BIN / "shellcheck", ".ci/run", "sandbox/images/host/rootfs/usr/sbin/sandbox-init"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_linter(name):
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = run(COMMANDS[name], environment)
    assert done.returncode == 0, done.stdout[-6000:]


@pytest.mark.parametrize("folder", ["terraform/bootstrap", "terraform"])
def test_terraform_validate(folder, tmp_path):
    terraform.write_cli_configuration()
    environment = target().environment() | {"TF_DATA_DIR": str(tmp_path)}
    for command in (["init", "-backend=false", "-input=false"], ["validate"]):
        done = run(["terraform", f"-chdir={folder}", *command], environment)
        assert done.returncode == 0, done.stdout


def test_every_role_is_described():
    """Each role has defaults, argument specs that name every default with the same value, and a README."""
    for role in sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir()):
        defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {}
        specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
        options = specs["argument_specs"]["main"]["options"]
        readme = (role / "README.md").read_text()
        for name, value in defaults.items():
            assert name in options, f"{role.name}: {name} has no argument spec"
            if "{{" not in str(value):
                assert options[name].get("default") == value, f"{role.name}: {name}'s default differs in its spec"
        for name in options:
            assert f"`{name}`" in readme, f"{role.name}: the README does not name {name}"
