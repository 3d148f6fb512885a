"""The API's image: built once, and pushed to ECR under a tag that is never overwritten."""

import base64
import contextlib
import hashlib
import os
import runpy
import subprocess
import sys
import time

from botocore.exceptions import ClientError

from cli import host
from cli.targets import Target
from cli.terraform import client
from common import architecture
from common import images as local_images
from common.config import stored
from common.docker import builder, inspect
from common.docker import push as docker_push
from common.errors import CommandError
from common.paths import ROOT
from common.progress import failure, logged, say, step

# In this machine's engine; in ECR each environment has a repository of its own.
LOCAL = "comentarios-api"


def tree_tag() -> str:
    """The working tree's tag: the commit, followed by a digest of the image's sources if they differ from it."""
    commit = _git("rev-parse", "--short=12", "HEAD") or "nocommit"
    # The image's sources in api/, as api/image.py lists them, and that program.
    parts = sorted([*runpy.run_path(str(ROOT / "api" / "image.py"))["CONTEXT"], "image.py"])
    if commit != "nocommit" and not _git("status", "--porcelain", "--", *(f"api/{part}" for part in parts)):
        return commit
    digest = hashlib.sha256()
    for part in parts:
        path = ROOT / "api" / part
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return f"{commit}-{digest.hexdigest()[:8]}"


def _wanted(rebuild: bool) -> str:
    """The working tree's tag. A rebuild of the same sources, with today's packages, has the date after it."""
    return f"{tree_tag()}-{time.strftime('%Y%m%d', time.gmtime())}" if rebuild else tree_tag()


def in_ecr(target: Target, wanted: str) -> bool:
    """Whether ECR has an image of this tag."""
    try:
        client(target, "ecr").describe_images(repositoryName=target.names.repository, imageIds=[{"imageTag": wanted}])
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "ImageNotFoundException":
            return False
        if code == "RepositoryNotFoundException":
            raise CommandError(f"ECR has no repository {target.names.repository}: run `make up` first") from None
        raise CommandError(f"ECR does not answer: {error}") from None
    return True


def ensure_pushed(target: Target, tag: str = "", rebuild: bool = False) -> str:
    """The tag to run: the one that is given, which must be in ECR, or the working tree's, which is pushed if missing.

    Args:
        rebuild: builds the working tree's image again, with today's packages of Debian.

    Raises:
        CommandError: the tag is not in ECR, or the build or the push failed.
    """
    if tag:
        if not in_ecr(target, tag):
            raise CommandError(f"ECR has no image {target.names.repository}:{tag}: `make images` lists the images")
        return tag
    wanted = _wanted(rebuild)
    if in_ecr(target, wanted):
        say(f"▸ image: {target.names.repository}:{wanted} is in ECR")
        return wanted
    _build_once(target, wanted, rebuild)
    _fits(target, wanted)
    with step(f"image: pushing {target.names.repository}:{wanted} to ECR"):
        push(target, wanted)
    return wanted


def _fits(target: Target, wanted: str) -> None:
    """Checks that the hosts can run the image, which has the architecture of the machine that built it.

    Raises:
        CommandError: a host has another architecture.
    """
    built = architecture.named((inspect("image", f"{LOCAL}:{wanted}") or {}).get("Architecture", ""))
    for one in host.hosts(target):
        if one.architecture != built:
            raise CommandError(
                f"the image {wanted} is built for {built}, and {one.name} is {one.architecture}: release from a "
                f"machine or a pipeline that is {one.architecture}, or set instance_type to one for {built}, such as "
                f"{architecture.TYPES.get(built)}"
            )


def image(target: Target, tag: str, rebuild: str) -> None:
    """``make image``: pushes the image and prints its tag."""
    say(ensure_pushed(target, tag, rebuild == "yes"))


def images(target: Target) -> None:
    """``make images``: the tags in ECR, the newest first."""
    for one in listing(target):
        say(one)


def prepare(target: Target) -> None:
    """Builds the image that ``ensure_pushed`` will push, before ECR exists."""
    wanted = _wanted(rebuild=False)
    with contextlib.suppress(CommandError):
        if in_ecr(target, wanted):
            return
    _build_once(target, wanted, rebuild=False)


def _build_once(target: Target, wanted: str, rebuild: bool) -> None:
    # The tag identifies the content: an image with this tag need not be built again.
    def make() -> None:
        with step(f"image: building {LOCAL}:{wanted}"):
            build(target, wanted, rebuild)

    local_images.ensure_built(f"{LOCAL}:{wanted}", make)


def build(target: Target, wanted: str, rebuild: bool = False) -> None:
    """Builds ``comentarios-api:<tag>`` in this machine's engine."""
    target.state.mkdir(parents=True, exist_ok=True)
    base = local_images.base(target.state)
    log = target.state / "logs" / "build-api.log"
    command = [sys.executable, str(ROOT / "api" / "image.py"), "--tag", f"{LOCAL}:{wanted}"]
    command += ["--base", base, "--version", wanted, *(["--no-cache"] if rebuild else [])]
    if logged(command, log, env={**os.environ, **builder()}):
        raise CommandError(failure("building the image failed", log))


def push(target: Target, wanted: str) -> None:
    """Pushes the image with a token from ECR, and waits until ECR lists it."""
    ecr = client(target, "ecr")
    uri = ecr.describe_repositories(repositoryNames=[target.names.repository])["repositories"][0]["repositoryUri"]
    registry, _, name = uri.partition("/")
    if target.sandbox:
        registry, name = target.sandbox.push_address, stored(target.variables["AWS_REGION"], name)
    token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    docker_push(f"{LOCAL}:{wanted}", f"{registry}/{name}:{wanted}", user, password)
    for _ in range(60):
        if in_ecr(target, wanted):
            return
        time.sleep(0.5)
    raise CommandError(
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
