"""Docker Engines of other Debian releases: up and down.

The engine comes from another release of Debian (tests/support/engines.py), its capabilities are this machine's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from common.paths import STATE
from tests.support.engines import engine

SITE = {
    "SANDBOX_NAME": "comentarios-engines",
    "SANDBOX_SUBNET": "10.94.0.0/24",
    "SANDBOX_STATE": str(STATE / "engines-site"),
}
# Release of Debian → packages besides; the classic builder, which newer engines drop, and BuildKit.
ENGINES = {"trixie": (), "sid": ("docker-buildx",)}


@pytest.mark.parametrize("release", ENGINES)
def test_everything_comes_up(release: str, tmp_path: Path) -> None:
    folder = STATE / "engines"
    folder.mkdir(parents=True, exist_ok=True)
    plugins = tmp_path / "cli-plugins"
    with engine(release, folder, *ENGINES[release]) as made:
        variables = SITE | {"DOCKER_CONFIG": str(tmp_path)}
        if plugin := next(made.root.glob("usr/*/docker/cli-plugins/docker-buildx"), None):
            plugins.mkdir()
            (plugins / "docker-buildx").symlink_to(plugin)
        try:
            assert made.run(["make", "up"], **variables) == 0
            assert made.run(["make", "status"], **variables) == 0
        finally:
            assert made.run(["make", "down"], **variables) == 0
