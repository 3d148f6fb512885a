"""The sandbox's images. Each is built once per content and stays in the engine as a cache.

If an upstream image of the stack can be pulled, the hosts pull it themselves, as on AWS. If not (no Docker Hub), an
image with another name is built from Debian 13's packages and pushed to the sandbox's ECR.
"""

import hashlib
import json
import os

import yaml

from common import files, keys
from common.config import ECR_USER, Config
from common.docker import build, docker, inspect
from common.docker import push as docker_push
from common.errors import CommandError
from common.images import CLONE_LABEL, IMAGE_LABEL, IMAGE_VARIABLES, PREFIX, STAND_INS, available, ensure_built
from common.paths import ROOT
from common.progress import say

FOLDER = ROOT / "sandbox" / "images"


def ensure(config: Config, target: str, base_image: str) -> str:
    """Builds an image unless the engine has it; returns its name, with a tag for its content.

    Args:
        target: its target in ``sandbox/images/Dockerfile``.
    """
    below = inspect("image", base_image)
    if below is None:
        raise CommandError(f"the image {base_image} was just removed from the engine: run the same command again")
    content = hashlib.sha256(below["Id"].encode())
    for file in sorted(FOLDER.rglob("*")):
        if file.is_file():
            content.update(f"{file.relative_to(FOLDER)}\0{os.access(file, os.X_OK)}\0".encode() + file.read_bytes())
    tag = f"{PREFIX}/{target}:{content.hexdigest()[:12]}"
    log = config.state / "logs" / f"build-{target}.log"

    def make() -> None:
        say(f"  building {tag}")
        arguments = {"BASE_IMAGE": base_image}
        build(FOLDER, tag, target=target, labels=(IMAGE_LABEL, CLONE_LABEL), arguments=arguments, log=log)

    ensure_built(tag, make)
    return tag


def chosen(config: Config) -> dict[str, str]:
    """The sandbox's own images that `start` and `build` have chosen so far: ``base``, ``registry``, ``host``."""
    record = config.state / "images.json"
    return json.loads(record.read_text()) if record.exists() else {}


def choose(config: Config, **names: str) -> None:
    """Records the sandbox's own images."""
    files.write(config.state / "images.json", json.dumps(chosen(config) | names, indent=2))


def stack(config: Config, base_image: str) -> dict[str, str | bool]:
    """Inventory variables for the images that cannot be pulled from upstream here.

    The result is kept in the state folder until the list of images changes.
    """
    wanted = IMAGE_VARIABLES.read_text() + config.grafana_image
    fingerprint = hashlib.sha256((wanted + base_image).encode()).hexdigest()
    kept = config.state / "stack-images.json"
    if kept.exists():
        known = json.loads(kept.read_text())
        if known["for"] == fingerprint:
            return dict(known["variables"])
    upstream = yaml.safe_load(IMAGE_VARIABLES.read_text())
    variables: dict[str, str | bool] = {}
    for variable, target in STAND_INS.items():
        if not available(upstream[variable]):
            variables[variable] = push(config, ensure(config, target, base_image))
    variables |= _grafana(config, config.grafana_image or upstream["grafana_image"])
    files.write(kept, json.dumps({"for": fingerprint, "variables": variables}, indent=2))
    return variables


def _grafana(config: Config, image: str) -> dict[str, str | bool]:
    if inspect("image", image):
        name, _, tag = image.rpartition("/")[2].partition(":")
        own = f"{PREFIX}/{name}:{tag or 'latest'}"
        docker("tag", image, own)
        return {"grafana_image": push(config, own)}
    if available(image):
        return {"grafana_image": image}
    say(f"  Grafana: {image} is not available; everything else comes up")
    return {"grafana_enabled": False}


def push(config: Config, image: str) -> str:
    """Pushes an image to the sandbox's ECR; returns its name for the hosts of every region, with the digest."""
    password = keys.load(config.state).registry
    digest = docker_push(image, f"{config.push_address}/{image}", ECR_USER, password)
    return f"{{{{ ecr_registry }}}}/{image}@{digest}"
