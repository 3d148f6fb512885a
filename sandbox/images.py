"""The images that the sandbox needs: built once for each content, kept in the engine as a cache.

Where the upstream image of a part of the stack can be pulled, the hosts pull it themselves, as on AWS. Where it cannot
(no Docker Hub), an image under a name of its own is built from Debian 13's packages and put into the sandbox's ECR.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable

import yaml

from sandbox import debian, files, keys
from sandbox.config import ECR_HOST, ECR_USER, ROOT, Config
from sandbox.docker import build, docker, inspect
from sandbox.errors import SandboxError
from sandbox.progress import failure, logged, say

PREFIX = "comentarios-sandbox"
UPSTREAM_BASE = "debian:trixie-slim"
OWN_BASE = f"{PREFIX}/debian:13"
IMAGE_LABEL = "comentarios.image=sandbox"
# What was built by another clone is that one's to remove.
CLONE_LABEL = f"comentarios.clone={ROOT}"
BUILT = ROOT / ".state" / "built"
LOCKS = ROOT / ".state" / "building"
FOLDERS = ROOT / "sandbox" / "images"
IMAGE_VARIABLES = ROOT / "inventory" / "group_vars" / "all" / "images.yml"
# Variable of the stack's image → folder that builds its stand-in. Grafana has none: Debian has no package of it.
STAND_INS = {
    "edge_image": "haproxy",
    "prometheus_image": "prometheus",
    "alertmanager_image": "alertmanager",
    "node_exporter_image": "node-exporter",
}


def base(config: Config) -> str:
    """A Debian 13 image in the engine: upstream's where it is or can be pulled, else one that mmdebstrap makes.

    Raises:
        SandboxError: neither can be had; says what to install.
    """
    for image in (UPSTREAM_BASE, OWN_BASE):
        if inspect("image", image):
            return image
    if available(UPSTREAM_BASE):
        docker("pull", UPSTREAM_BASE, timeout=600)
        return UPSTREAM_BASE
    once(OWN_BASE, lambda: _debian(config))
    return OWN_BASE


def _debian(config: Config) -> None:
    say(f"  {UPSTREAM_BASE} cannot be pulled here: making {OWN_BASE} with mmdebstrap")
    if not shutil.which("mmdebstrap"):
        _install_mmdebstrap()
    log = config.state / "logs" / "mmdebstrap.log"
    archive = config.state / "debian.tar"
    if logged(["mmdebstrap", "--variant=minbase", "trixie", archive], log, umask=0o022):
        raise SandboxError(failure("mmdebstrap failed", log))
    docker("import", "--change", f"LABEL {IMAGE_LABEL}", str(archive), OWN_BASE, timeout=600)
    archive.unlink()


def available(image: str) -> bool:
    """Whether a registry hands the image out; False also when it does not answer within 20 s."""
    try:
        docker("manifest", "inspect", image, timeout=20)
    except SandboxError:
        return False
    return True


def ensure(config: Config, folder: str, base_image: str) -> str:
    """Builds ``sandbox/images/<folder>`` unless the engine has it already; returns its name, tagged by its content."""
    path = FOLDERS / folder
    below = inspect("image", base_image)
    if below is None:
        raise SandboxError(f"the image {base_image} has just gone from the engine: run the same command again")
    content = hashlib.sha256(below["Id"].encode())
    for file in sorted(path.rglob("*")):
        if file.is_file():
            content.update(f"{file.relative_to(path)}\0{os.access(file, os.X_OK)}\0".encode() + file.read_bytes())
    tag = f"{PREFIX}/{folder}:{content.hexdigest()[:12]}"
    log = config.state / "logs" / f"build-{folder}.log"

    def make() -> None:
        say(f"  building {tag}")
        build(path, tag, labels=(IMAGE_LABEL, CLONE_LABEL), arguments={"BASE_IMAGE": base_image}, log=log)

    once(tag, make)
    return tag


def chosen(config: Config) -> dict[str, str]:
    """The sandbox's own images, as far as `start` and `build` chose them: ``base``, ``registry``, ``host``."""
    record = config.state / "images.json"
    return json.loads(record.read_text()) if record.exists() else {}


def newest(folder: str) -> str | None:
    """The newest image of ``sandbox/images/<folder>`` in the engine, whoever built it; None when there is none."""
    return next(iter(docker("images", "--quiet", f"{PREFIX}/{folder}").split()), None)


def choose(config: Config, **names: str) -> None:
    """Records the sandbox's own images."""
    files.write(config.state / "images.json", json.dumps(chosen(config) | names, indent=2))


def stack(config: Config, base_image: str) -> dict[str, str | bool]:
    """Inventory variables that this machine's situation asks for: images that are not to be had upstream.

    The decision is kept in the state folder until the list of images changes.
    """
    wanted = IMAGE_VARIABLES.read_text() + os.environ.get("GRAFANA_IMAGE", "")
    fingerprint = hashlib.sha256((wanted + base_image).encode()).hexdigest()
    kept = config.state / "stack-images.json"
    if kept.exists():
        known = json.loads(kept.read_text())
        if known["for"] == fingerprint:
            return dict(known["variables"])
    upstream = yaml.safe_load(IMAGE_VARIABLES.read_text())
    variables: dict[str, str | bool] = {}
    for variable, folder in STAND_INS.items():
        if not available(upstream[variable]):
            variables[variable] = push(config, ensure(config, folder, base_image))
    variables |= _grafana(config, os.environ.get("GRAFANA_IMAGE") or upstream["grafana_image"])
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
    say(f"  Grafana: {image} can neither be pulled nor is it in the local engine: everything else comes up")
    return {"grafana_enabled": False}


def push(config: Config, image: str) -> str:
    """Puts an image of the engine into the sandbox's ECR; returns its name for the hosts, with its digest."""
    login = config.state / "docker"
    docker(
        *("--config", str(login), "login", "--username", ECR_USER, "--password-stdin", config.push_address),
        stdin=keys.load(config.state).registry,
    )
    docker("tag", image, f"{config.push_address}/{image}")
    try:
        docker("--config", str(login), "push", "--quiet", f"{config.push_address}/{image}", timeout=600)
        pushed = inspect("image", f"{config.push_address}/{image}") or {}
    finally:
        docker("rmi", f"{config.push_address}/{image}")
    repository = f"{config.push_address}/{image}".rpartition(":")[0]
    digest = next(one for one in pushed["RepoDigests"] if one.startswith(f"{repository}@")).partition("@")[2]
    return f"{ECR_HOST}/{image}@{digest}"


def _install_mmdebstrap() -> None:
    try:
        # The keys come with Debian, not with Ubuntu.
        debian.install("mmdebstrap", "debian-archive-keyring")
    except debian.PackageError as error:
        raise SandboxError(
            f"{UPSTREAM_BASE} cannot be pulled and mmdebstrap is missing: {error}, "
            "or give this machine access to Docker Hub"
        ) from None


def once(image: str, make: Callable[[], None]) -> None:
    """Makes an image unless the engine has it, and records it for `make clean`; two sandboxes do not make it twice."""
    if inspect("image", image):
        return
    files.make_private(LOCKS)
    with (LOCKS / image.replace("/", "_")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if inspect("image", image):
            return
        make()
    with BUILT.open("a") as record:
        record.write(f"{image}\n")


def remove_all() -> None:
    """Removes every image that this clone built, unless somebody else's container or image needs it."""
    # The last ones built stand on the first ones.
    for image in reversed(list(dict.fromkeys(BUILT.read_text().split() if BUILT.exists() else []))):
        docker("rmi", image, check=False)
    docker("image", "prune", "--force", "--filter", f"label={CLONE_LABEL}")
    BUILT.unlink(missing_ok=True)
    shutil.rmtree(LOCKS, ignore_errors=True)
