"""The files of `terraform test`, by folder, and their run."""

from __future__ import annotations

from collections.abc import Collection

from tests.parts.terraform.emulator import Emulator
from tests.parts.terraform.workspace import Workspace

FILES: dict[str, tuple[str, ...]] = {
    "bootstrap": ("bootstrap", "variables"),
    "host": ("host", "two_hosts", "variables"),
}
EVERY = [(part, name) for part, names in FILES.items() for name in names]
# Status and output by folder.
Tested = dict[str, tuple[int, str]]


def run(chosen: Collection[tuple[str, str]], workspace: Workspace, _: Emulator) -> Tested:
    """One command for a folder's files: each destroys what it made."""
    done: Tested = {}
    for part, names in FILES.items():
        filters = [f"-filter=tests/{name}.tftest.hcl" for name in names if (part, name) in chosen]
        if filters:
            folder = getattr(workspace, part)
            workspace.run(folder, "init", "-backend=false")
            done[part] = workspace.finish(workspace.start(folder, "test", *filters))
    return done
