"""Three environments in one account, one of them in another region; one is removed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cli.names import Names
from tests.parts.terraform.emulator import Emulator
from tests.parts.terraform.full_cycle import LOCAL_BACKEND, VARIABLES
from tests.parts.terraform.workspace import Workspace

# The second and the third have one name: their regions alone are different.
ENVIRONMENTS = {
    "unnamed": (Names(), "us-east-1"),
    "staging": (Names(environment="staging"), "us-east-1"),
    "elsewhere": (Names(environment="staging"), "eu-west-1"),
}
GONE = "staging"
# What Terraform reads last of a folder: the module without its lifecycle rules, each of which takes a minute.
WITHOUT_RULES = "modules/private_bucket/rules_override.tf"
NO_RULES = 'resource "aws_s3_bucket_lifecycle_configuration" "this" {\n  count = 0\n}\n'


@dataclass
class SideBySide:
    """What was there, and what Terraform plans for those that stay."""

    up: set[str] = field(default_factory=set)
    after: set[str] = field(default_factory=set)
    plans: dict[str, dict[str, tuple[int, str]]] = field(default_factory=dict)


def live(folder: Path, emulator: Emulator) -> SideBySide:
    """All three are made at once, and one is destroyed.

    Raises:
        AssertionError: a Terraform command failed: two have a name in common, say.
    """
    made = {name: _workspace(folder / name, emulator, name) for name in ENVIRONMENTS}
    seen = SideBySide()
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(_up, made.values()))
            seen.up = emulator.inventory()
            _down(made.pop(GONE))
            seen.after = emulator.inventory()
            seen.plans = dict(zip(made, pool.map(_plans, made.values()), strict=True))
    finally:
        for workspace in made.values():
            workspace.close()
    return seen


def _workspace(folder: Path, emulator: Emulator, name: str) -> Workspace:
    called, region = ENVIRONMENTS[name]
    folder.mkdir()
    workspace = Workspace(folder, emulator)
    workspace.environment |= VARIABLES | called.variables(region)
    workspace.environment |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    # Their account has one for all.
    workspace.environment.pop("TF_VAR_github_repository")
    (workspace.host / WITHOUT_RULES).write_text(NO_RULES)
    for one in (workspace.bootstrap, workspace.host):
        (one / "backend_override.tf").write_text(LOCAL_BACKEND)
    return workspace


def _up(workspace: Workspace) -> None:
    for folder in (workspace.bootstrap, workspace.host):
        workspace.run(folder, "init")
        workspace.run(folder, "apply", "-auto-approve")


def _down(workspace: Workspace) -> None:
    workspace.run(workspace.host, "apply", "-auto-approve", "-var=parked=true", "-var=delete_data=true")
    workspace.run(workspace.host, "destroy", "-auto-approve", "-var=parked=true", "-var=delete_data=true")
    workspace.run(workspace.bootstrap, "destroy", "-auto-approve")
    workspace.close()


def _plans(workspace: Workspace) -> dict[str, tuple[int, str]]:
    return {
        folder.name: workspace.finish(workspace.start(folder, "plan", "-detailed-exitcode"))
        for folder in (workspace.bootstrap, workspace.host)
    }
