"""The API's image: its tag, built once, pushed to ECR, where a tag is never overwritten."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import time

from botocore.exceptions import ClientError

from cli.errors import VerbError
from cli.targets import ROOT, Target
from cli.terraform import client
from sandbox import images as sandbox_images
from sandbox.config import Config
from sandbox.docker import builder, docker, inspect
from sandbox.progress import failure, logged, say, step

# In this machine's engine; in ECR each environment has a repository of its own.
LOCAL = "comentarios-api"
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
        client(target, "ecr").describe_images(repositoryName=target.names.repository, imageIds=[{"imageTag": wanted}])
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "ImageNotFoundException":
            return False
        if code == "RepositoryNotFoundException":
            raise VerbError(f"ECR has no repository {target.names.repository}: run `make up` first") from None
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
            raise VerbError(f"ECR has no image {target.names.repository}:{given}: `make images` lists what it has")
        return given
    wanted = _wanted()
    if in_ecr(target, wanted):
        say(f"▸ image: {target.names.repository}:{wanted} is in ECR")
        return wanted
    _build_once(target, wanted)
    with step(f"image: pushing {target.names.repository}:{wanted} to ECR"):
        push(target, wanted)
    return wanted


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
    if not inspect("image", f"{LOCAL}:{wanted}"):
        with step(f"image: building {LOCAL}:{wanted}"):
            build(target, wanted)
            sandbox_images.built(f"{LOCAL}:{wanted}")


def build(target: Target, wanted: str) -> None:
    """Builds ``comentarios-api:<tag>`` in this machine's engine."""
    config = Config()
    config.state.mkdir(parents=True, exist_ok=True)
    base = sandbox_images.base(config)
    log = target.state / "logs" / "build-api.log"
    command = [sys.executable, str(ROOT / "api" / "image.py"), "build", "--tag", f"{LOCAL}:{wanted}"]
    command += ["--base", base, "--version", wanted, *(["--no-cache"] if _rebuild() else [])]
    if logged(command, log, env={**os.environ, **builder()}):
        raise VerbError(failure("building the image failed", log))


def push(target: Target, wanted: str) -> None:
    """Pushes the image that was built, with a token that ECR gives out for it, and waits until ECR lists it."""
    ecr = client(target, "ecr")
    uri = ecr.describe_repositories(repositoryNames=[target.names.repository])["repositories"][0]["repositoryUri"]
    registry, _, name = uri.partition("/")
    registry = target.push_registry or registry
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    # A client configuration of our own: the user's stays as it is.
    login, remote = target.state / "docker", f"{registry}/{name}:{wanted}"
    try:
        docker(*("--config", str(login), "login", "--username", user, "--password-stdin", registry), stdin=password)
        docker("tag", f"{LOCAL}:{wanted}", remote)
        docker("--config", str(login), "push", "--quiet", remote, timeout=900)
    finally:
        if inspect("image", remote):
            docker("rmi", remote)
        (login / "config.json").unlink(missing_ok=True)
    for _ in range(60):
        if in_ecr(target, wanted):
            return
        time.sleep(0.5)
    raise VerbError(
        f"ECR does not list {target.names.repository}:{wanted} 30 s after the push: run the same command again"
    )


def listing(target: Target) -> list[str]:
    """The tags in ECR, the newest first."""
    pages = client(target, "ecr").get_paginator("describe_images").paginate(repositoryName=target.names.repository)
    found = [image for page in pages for image in page["imageDetails"]]
    found.sort(key=lambda image: image["imagePushedAt"], reverse=True)
    return [name for image in found for name in image.get("imageTags", [])]


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
