"""The arguments that `./tools` gives a fake Docker, in a clone whose path has a space."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from common.paths import ROOT

DOCKERFILE = "sandbox/images/tools/Dockerfile"
DOCKER = """#!/bin/sh
{ for one; do printf '%s\\037' "$one"; done; printf '\\036'; } >>"$TOLD"
case "$1 $2" in
"image inspect") exit "$NO_IMAGE" ;;
"container inspect") echo "$RUNS" ;;
"exec --interactive") exit "$STATUS" ;;
esac
"""


class Tools:
    """A clone with `./tools` and a Docker that is none."""

    def __init__(self, folder: Path) -> None:
        self.clone, self.told = folder / "a clone", folder / "told"
        (self.clone / DOCKERFILE).parent.mkdir(parents=True)
        for name in ("tools", DOCKERFILE):
            shutil.copy(ROOT / name, self.clone / name)
        docker = folder / "bin" / "docker"
        docker.parent.mkdir()
        docker.write_text(DOCKER)
        docker.chmod(0o755)
        self.path = f"{docker.parent}:{os.environ['PATH']}"

    def __call__(self, *command: str, **variables: str) -> tuple[int, list[list[str]]]:
        """The exit status, and Docker's command lines."""
        self.told.write_text("")
        own = {"PATH": self.path, "TOLD": str(self.told), "NO_IMAGE": "0", "RUNS": "", "STATUS": "0"}
        done = subprocess.run([self.clone / "tools", *command], env=own | variables, capture_output=True, check=False)
        lines = [line.split("\x1f")[:-1] for line in self.told.read_text().split("\x1e")[:-1]]
        return done.returncode, lines


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path)


def test_container_is_made_once(tools: Tools, tmp_path: Path) -> None:
    authority = tmp_path / "an authority.pem"
    authority.write_text("x")
    _, lines = tools("make", "up", NO_IMAGE="1", PIP_CERT=str(authority), BASE_IMAGE="mine:1")
    build, run = (next(line for line in lines if line[0] == verb) for verb in ("build", "run"))
    assert "BASE_IMAGE=mine:1" in build and build[-1] == "sandbox/images/tools"
    volumes = [run[place + 1] for place, part in enumerate(run) if part == "--volume"]
    name, image = run[run.index("--name") + 1], run[-1]
    assert volumes == [
        f"{tools.clone}:{tools.clone}",
        f"{name}-state:{tools.clone}/.state",
        f"{name}-venv:{tools.clone}/.venv",
        "/var/run/docker.sock:/var/run/docker.sock",
        f"{authority}:/etc/ssl/certs/ca-certificates.crt:ro",
    ]
    _, lines = tools("make", "up", RUNS=f"{image} true")
    assert [line[0] for line in lines] == ["image", "container", "exec"]
    # One that was stopped, or that is of another image, is made anew.
    for other in (f"{image} false", f"{name}:1 true"):
        _, lines = tools("make", "up", RUNS=other)
        assert [line[0] for line in lines] == ["image", "container", "rm", "run", "exec"]


def test_an_authority_that_is_not_there(tools: Tools) -> None:
    """Docker would make a folder of its name."""
    _, lines = tools("make", "up", PIP_CERT="/nowhere.pem")
    assert not any("nowhere" in part for line in lines for part in line)


def test_command(tools: Tools) -> None:
    """It is passed on as it is, with the variables that are meant for it, by name."""
    given = {
        "ENV": "staging",
        "SANDBOX_NAME": "a b",
        "EDGE_PORT": "1",
        "https_proxy": "p",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    status, lines = tools("make", "ssh", "CMD=echo $HOME 'x  y'", STATUS="7", **given)
    line = lines[-1]
    assert status == 7
    assert line[-3:] == ["make", "ssh", "CMD=echo $HOME 'x  y'"]
    passed = [line[place + 1] for place, part in enumerate(line) if part == "--env"]
    assert sorted(passed) == ["EDGE_PORT", "ENV", "SANDBOX_NAME", "https_proxy"]
    assert not any("secret" in part for one in lines for part in one)


@pytest.mark.parametrize(
    ("command", "status", "removed"), [("clean", 0, True), ("clean", 2, False), ("down", 0, False)]
)
def test_clean_removes_the_container(tools: Tools, command: str, status: int, removed: bool) -> None:
    """Not when the sandbox could not be removed: the volume holds what is known of it."""
    done, lines = tools("make", command, STATUS=str(status))
    assert done == status
    assert any(line[:2] == ["volume", "rm"] for line in lines) == removed
    assert (tools.clone / ".state").exists() != removed
