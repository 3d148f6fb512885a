"""A clone in a folder whose name has a space: up and down."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.site import ROOT, environment

SITE = {
    "SANDBOX_NAME": "comentarios-clone",
    "SANDBOX_SUBNET": "10.95.0.0/24",
    "SANDBOX_REGISTRY_PORT": "4579",
    "EDGE_PORT": "8097",
    # The clone's own.
    "SANDBOX_STATE": "",
}


def test_path_with_a_space(tmp_path: Path) -> None:
    clone = tmp_path / "my clones" / "coment arios"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    environ = environment(SITE)

    def make(verb: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["make", verb], cwd=clone, env=environ, capture_output=True, text=True, check=False)

    try:
        for verb in ("up", "status", "backup", "backups", "up"):
            done = make(verb)
            assert done.returncode == 0, f"make {verb}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    finally:
        gone = make("clean")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    left = subprocess.run(
        ["git", "status", "--short", "--ignored"], cwd=clone, capture_output=True, text=True, check=True
    )
    assert left.stdout == ""
