"""The API's image: its tag, built once, pushed to ECR, where a tag is never overwritten."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import time

from botocore.exceptions import ClientError

from cli import host
from cli.errors import VerbError
from cli.targets import ROOT, Target
from cli.terraform import client
from sandbox import hosts as sandbox_hosts
from sandbox import images as sandbox_images
from sandbox.config import Config
from sandbox.docker import builder, docker, inspect
from sandbox.progress import failure, logged, say, step

REPOSITORY = "comentarios-api"
PARTS = ("Dockerfile", "api.py", "comentarios", "image.py", "requirements.txt")


def tag() -> str:
    """The working tree's tag: the commit, and after it a digest of the image's sources when they differ from it."""
    commit = _git("rev-parse", "--short=12", "HEAD") or "nocommit"
    if commit != "nocommit" and not _git("status", "--porcelain", "--", *(f"api/{part}" for part in PARTS)):
        return commit
    digest = hashlib.sha256()
    for part in PARTS:
        path = ROOT / "api" / part
        for file in sorted(path.rglob("*.*")) if path.is_dir() else [path]:
            if "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return f"{commit}-{digest.hexdigest()[:8]}"


def _wanted() -> str:
    """The working tree's tag; with REBUILD the day's after it, for the same sources with that day's packages."""
    return f"{tag()}-{time.strftime('%Y%m%d', time.gmtime())}" if _rebuild() else tag()


def _rebuild() -> bool:
    return os.environ.get("REBUILD") == "yes"


def in_ecr(target: Target, wanted: str) -> bool:
    """Whether ECR has an image of this tag."""
    try:
        client(target, "ecr").describe_images(repositoryName=REPOSITORY, imageIds=[{"imageTag": wanted}])
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "ImageNotFoundException":
            return False
        if code == "RepositoryNotFoundException":
            raise VerbError(f"ECR has no repository {REPOSITORY}: run `make up` first") from None
        raise VerbError(f"ECR does not answer: {error}") from None
    return True


def ensure(target: Target) -> str:
    """The tag to run: ``TAG`` of the environment, which must be in ECR, or the working tree's, built and pushed if not.

    Raises:
        VerbError: TAG is not in ECR, or the build or the push failed.
    """
    given = os.environ.get("TAG")
    if given:
        if not in_ecr(target, given):
            raise VerbError(f"ECR has no image {REPOSITORY}:{given}: `make images` lists what it has")
        return given
    wanted = _wanted()
    if in_ecr(target, wanted):
        say(f"▸ image: {REPOSITORY}:{wanted} is in ECR")
        return wanted
    _build_once(target, wanted)
    _fits(target, wanted)
    with step(f"image: pushing {REPOSITORY}:{wanted} to ECR"):
        push(target, wanted)
    return wanted


def _fits(target: Target, wanted: str) -> None:
    """Compares what was built with the hosts: an image is of the machine's architecture that built it.

    Raises:
        VerbError: a host is of another one.
    """
    built = (inspect("image", f"{REPOSITORY}:{wanted}") or {}).get("Architecture", "")
    # As EC2 calls it.
    built = {"amd64": "x86_64"}.get(built, built)
    for one in host.hosts(target):
        if one.architecture != built:
            raise VerbError(
                f"the image {wanted} is built for {built}, and {one.name} is {one.architecture}: release from a "
                f"machine or a pipeline that is {one.architecture}, or set instance_type to one of {built}, such as "
                f"{sandbox_hosts.TYPES.get(built)}"
            )


def push_verb(target: Target) -> None:
    """``make image``: the tag that is in ECR now."""
    say(ensure(target))


def images(target: Target) -> None:
    """``make images``: the tags in ECR, the newest first."""
    for one in listing(target):
        say(one)


def prepare(target: Target) -> None:
    """Builds the working tree's image where ``ensure`` would, before there is an ECR to ask."""
    wanted = _wanted()
    try:
        known = in_ecr(target, os.environ.get("TAG") or wanted)
    except VerbError:
        known = False
    if not known and not os.environ.get("TAG"):
        _build_once(target, wanted)


def _build_once(target: Target, wanted: str) -> None:
    # The tag names the content: an image that the engine has already is the one that would be built.
    if not inspect("image", f"{REPOSITORY}:{wanted}"):
        with step(f"image: building {REPOSITORY}:{wanted}"):
            build(target, wanted)
            sandbox_images.built(f"{REPOSITORY}:{wanted}")


def build(target: Target, wanted: str) -> None:
    """Builds ``comentarios-api:<tag>`` in this machine's engine."""
    config = Config()
    config.state.mkdir(parents=True, exist_ok=True)
    base = sandbox_images.base(config)
    log = target.state / "logs" / "build-api.log"
    command = [sys.executable, str(ROOT / "api" / "image.py"), "build", "--tag", f"{REPOSITORY}:{wanted}"]
    command += ["--base", base, "--version", wanted, *(["--no-cache"] if _rebuild() else [])]
    if logged(command, log, env={**os.environ, **builder()}):
        raise VerbError(failure("building the image failed", log))


def push(target: Target, wanted: str) -> None:
    """Pushes the image that was built, with a token that ECR gives out for it, and waits until ECR lists it."""
    ecr = client(target, "ecr")
    uri = ecr.describe_repositories(repositoryNames=[REPOSITORY])["repositories"][0]["repositoryUri"]
    registry, _, name = uri.partition("/")
    registry = target.push_registry or registry
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    # A client configuration of our own: the user's stays as it is.
    login, remote = target.state / "docker", f"{registry}/{name}:{wanted}"
    try:
        docker(*("--config", str(login), "login", "--username", user, "--password-stdin", registry), stdin=password)
        docker("tag", f"{REPOSITORY}:{wanted}", remote)
        docker("--config", str(login), "push", "--quiet", remote, timeout=900)
    finally:
        if inspect("image", remote):
            docker("rmi", remote)
        (login / "config.json").unlink(missing_ok=True)
    for _ in range(60):
        if in_ecr(target, wanted):
            return
        time.sleep(0.5)
    raise VerbError(f"ECR does not list {REPOSITORY}:{wanted} 30 s after the push: run the same command again")


def listing(target: Target) -> list[str]:
    """The tags in ECR, the newest first."""
    pages = client(target, "ecr").get_paginator("describe_images").paginate(repositoryName=REPOSITORY)
    found = [image for page in pages for image in page["imageDetails"]]
    found.sort(key=lambda image: image["imagePushedAt"], reverse=True)
    return [name for image in found for name in image.get("imageTags", [])]


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
