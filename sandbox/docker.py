"""The Docker command line, as the sandbox uses it.

The command line and not the API's client: ``--security-opt systempaths=unconfined`` exists only there.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from sandbox.errors import SandboxError
from sandbox.progress import failure, logged

# What engines and clients of all versions say of what is not there.
ABSENT = re.compile(r"no such|not found", re.IGNORECASE)


def docker(*arguments: str, stdin: str | None = None, timeout: float = 120, check: bool = True) -> str:
    """Runs ``docker`` and returns what it printed.

    Args:
        timeout: seconds after which it is ended.
        check: whether a non-zero exit status is an error; otherwise the output so far is returned.

    Raises:
        SandboxError: the engine cannot be reached, or the command failed: its last line.
    """
    try:
        done = subprocess.run(
            ["docker", *arguments], input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise SandboxError("docker is not installed: run `make up`, or install Docker Engine") from None
    except subprocess.TimeoutExpired:
        raise SandboxError(f"docker {arguments[0]} took longer than {timeout:.0f} s") from None
    if check and done.returncode:
        # Newer clients end with advice on `--help`. What keeps `docker exec` from starting is told on standard output.
        said = (done.stderr + done.stdout if done.returncode in {126, 127} else done.stderr).splitlines()
        lines = [line for line in said if line.strip() and not line.startswith(("Run '", "See '"))]
        raise SandboxError(f"docker {' '.join(arguments[:2])}: {(lines or [f'exit status {done.returncode}'])[-1]}")
    return done.stdout


def inspect(kind: str, name: str) -> dict[str, Any] | None:
    """``docker <kind> inspect`` of one object (container, network, volume, image), None when there is none.

    Raises:
        SandboxError: the engine does not say, because it cannot be reached, say.
    """
    try:
        found: list[dict[str, Any]] = json.loads(docker(kind, "inspect", name))
    except SandboxError as error:
        if ABSENT.search(str(error)):
            return None
        raise
    return found[0]


@cache
def builder() -> dict[str, str]:
    """The environment in which `docker build` works here: BuildKit where the client has it, else the classic builder.

    Docker 23 and later call BuildKit by the plugin buildx, which distributions package apart; the classic builder will
    be dropped. Nothing here needs a front end from Docker Hub.
    """
    try:
        docker("buildx", "version")
    except SandboxError:
        return {"DOCKER_BUILDKIT": "0"}
    # An image is one manifest: a list with attestations beside it cannot be rewritten or put into ECR as one.
    return {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "BUILDKIT_PROGRESS": "plain"}


def build(folder: Path, tag: str, *, labels: tuple[str, ...], arguments: dict[str, str], log: Path) -> None:
    """Builds an image from a folder, its output kept in a log file.

    Raises:
        SandboxError: the build failed: its last line, and where the whole log is.
    """
    command = ["docker", "build", "--tag", tag, *(f"--label={label}" for label in labels)]
    if builder()["DOCKER_BUILDKIT"] == "0":
        # It keeps the container of a step that fails otherwise.
        command.append("--force-rm")
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    if logged([*command, str(folder)], log, env={**os.environ, **builder()}):
        raise SandboxError(failure(f"building {tag} failed", log))
