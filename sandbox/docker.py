"""The Docker command line, as the sandbox uses it.

The command line and not the API's client: ``--security-opt systempaths=unconfined`` exists only there.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.progress import failure, logged


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
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise SandboxError(f"docker {' '.join(arguments[:2])}: {lines[-1]}")
    return done.stdout


def inspect(kind: str, name: str) -> dict | None:
    """``docker <kind> inspect`` of one object (container, network, volume, image), None when there is none."""
    found = json.loads(docker(kind, "inspect", name, check=False) or "[]")
    return found[0] if found else None


def build(folder: Path, tag: str, *, label: str, arguments: dict[str, str], log: Path) -> None:
    """Builds an image from a folder, its output kept in a log file.

    The classic builder, because an engine without Hub access may have no BuildKit front end either.

    Raises:
        SandboxError: the build failed: its last line, and where the whole log is.
    """
    command = ["docker", "build", "--tag", tag, "--label", label]
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    if logged([*command, str(folder)], log, env={**os.environ, "DOCKER_BUILDKIT": "0"}):
        raise SandboxError(failure(f"building {tag} failed", log))
