"""The Docker command line.

The API's client is not used: ``--security-opt systempaths=unconfined`` exists in the command line only.
"""

import io
import json
import os
import re
import subprocess
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

from common.errors import CommandError
from common.progress import failure, logged

# How the last line may begin: with a hint at `--help`, or with what failed and not why.
NO_REASON = ("Run '", "See '", "Error: failed to start containers", "exit status ")
# The errors of all versions for objects that do not exist.
ABSENT = re.compile(r"no such|not found", re.IGNORECASE)


def docker(*arguments: str, stdin: str | bytes | None = None, timeout: float = 120, check: bool = True) -> str:
    """Runs ``docker`` and returns its output.

    Args:
        timeout: seconds after which it is killed.
        check: whether a non-zero exit status is an error; otherwise, the output is returned.

    Raises:
        CommandError: the engine cannot be reached, or the command failed; its last line.
    """
    try:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(["docker", *arguments], input=given, capture_output=True, timeout=timeout, check=False)
    except FileNotFoundError:
        raise CommandError("docker is not installed: run `make up`, or install Docker Engine") from None
    except subprocess.TimeoutExpired:
        raise CommandError(f"docker {arguments[0]} took longer than {timeout:.0f} s") from None
    output, errors = (stream.decode(errors="replace") for stream in (done.stdout, done.stderr))
    if check and done.returncode:
        # If `docker exec` cannot start, the error is on standard output.
        said = (errors + output if done.returncode in {126, 127} else errors).splitlines()
        lines = [line for line in said if line.strip() and not line.startswith(NO_REASON)]
        raise CommandError(f"docker {' '.join(arguments[:2])}: {(lines or [f'exit status {done.returncode}'])[-1]}")
    return output


def inspect(kind: str, name: str) -> dict[str, Any] | None:
    """``docker <kind> inspect`` of one object (container, network, volume or image); None if it does not exist.

    Raises:
        CommandError: the engine cannot be reached, or failed.
    """
    try:
        found: list[dict[str, Any]] = json.loads(docker(kind, "inspect", name))
    except CommandError as error:
        if ABSENT.search(str(error)):
            return None
        raise
    return found[0]


@cache
def builder() -> dict[str, str]:
    """The environment for `docker build`: BuildKit if the client has it, otherwise the classic builder.

    Docker 23 and later need the plugin buildx for BuildKit, which distributions package separately. The classic builder
    is deprecated. Our Dockerfiles need no front end from Docker Hub.
    """
    try:
        docker("buildx", "version")
    except CommandError:
        return {"DOCKER_BUILDKIT": "0"}
    # Without attestations an image is a single manifest, which can be rewritten and pushed to ECR.
    return {"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1", "BUILDKIT_PROGRESS": "plain"}


def build(
    folder: Path, tag: str, *, target: str, labels: tuple[str, ...], arguments: dict[str, str], log: Path
) -> None:
    """Builds a target of a folder's Dockerfile, with the output in a log.

    Raises:
        CommandError: the build failed; its cause and the log.
    """
    command = ["docker", "build", "--tag", tag, "--target", target, *(f"--label={label}" for label in labels)]
    if builder()["DOCKER_BUILDKIT"] == "0":
        # Otherwise it keeps the container of a failed step.
        command.append("--force-rm")
    for name, value in arguments.items():
        command += ["--build-arg", f"{name}={value}"]
    if logged([*command, str(folder)], log, env={**os.environ, **builder()}):
        raise CommandError(failure(f"building {tag} failed", log))


def copy_into(container: str, content: dict[str, str], uid: int = 0, mode: int = 0o644) -> None:
    """Writes files into a container, which need not run.

    Args:
        content: paths without the leading slash → texts. Missing folders are created.
        uid: the files' owner.
    """
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, text in content.items():
            data = text.encode()
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.uid, entry.gid = len(data), mode, uid, uid
            tar.addfile(entry, io.BytesIO(data))
    docker("cp", "-", f"{container}:/", stdin=archive.getvalue())


def push(image: str, remote: str, user: str, password: str, folder: Path) -> str:
    """Pushes an image under a registry's name, which is removed from the engine afterwards; returns its digest.

    Args:
        folder: for a Docker configuration of our own: the user's is not changed.
    """
    login = ("--config", str(folder))
    try:
        docker(*login, "login", "--username", user, "--password-stdin", remote.partition("/")[0], stdin=password)
        docker("tag", image, remote)
        docker(*login, "push", "--quiet", remote, timeout=900)
        pushed = inspect("image", remote) or {}
    finally:
        if inspect("image", remote):
            docker("rmi", remote)
        (folder / "config.json").unlink(missing_ok=True)
    repository = remote.rpartition(":")[0]
    digests = (one.partition("@") for one in pushed["RepoDigests"])
    return str(next(digest for name, _, digest in digests if name == repository))
