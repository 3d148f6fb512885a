"""Images of the API with another version or a fault, made from the good one and pushed to ECR."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

from cli import image
from cli.targets import Target

FOLDER = Path(__file__).parent / "images"


def push(target: Target, good: str, kind: str) -> str:
    """Builds and pushes a variant (a build target of images/Dockerfile) of a good tag; returns its own, new tag."""
    tag = f"{kind}-{uuid.uuid4().hex[:10]}"
    command = ["docker", "build", "--quiet", "--target", kind, "--tag", f"{image.LOCAL}:{tag}"]
    arguments = ["--build-arg", f"GOOD={image.LOCAL}:{good}", "--build-arg", f"VERSION={tag}"]
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
    subprocess.run([*command, *arguments, str(FOLDER)], check=True, env=environment, stdout=subprocess.DEVNULL)
    image.push(target, tag)
    return tag


def remove(tags: list[str]) -> None:
    """Removes the variants from this machine's engine."""
    subprocess.run(["docker", "rmi", *(f"{image.LOCAL}:{tag}" for tag in tags)], check=False, capture_output=True)
