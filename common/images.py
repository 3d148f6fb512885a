"""Images in this machine's engine: Debian's base image, and the record of what this clone built."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

from common import apt, files
from common.docker import docker, inspect
from common.errors import CommandError
from common.paths import ROOT, STATE
from common.progress import failure, logged, say

PREFIX = "comentarios-sandbox"
UPSTREAM_BASE = "debian:trixie-slim"
OWN_BASE = f"{PREFIX}/debian:13"
IMAGE_LABEL = "comentarios.image=sandbox"
# Each clone removes only its own images.
CLONE_LABEL = f"comentarios.clone={ROOT}"
BUILT, LOCKS = STATE / "built", STATE / "building"
IMAGE_VARIABLES = ROOT / "inventory" / "group_vars" / "all" / "images.yml"
# Variable of an upstream image → target in sandbox/images/Dockerfile of a replacement. Debian has no Grafana.
STAND_INS = {
    "edge_image": "haproxy",
    "prometheus_image": "prometheus",
    "alertmanager_image": "alertmanager",
    "node_exporter_image": "node-exporter",
}


def base(state: Path) -> str:
    """A Debian 13 image in the engine: upstream's if it can be pulled, otherwise one that mmdebstrap makes.

    Args:
        state: folder for the log and the temporary archive.

    Raises:
        CommandError: neither is available.
    """
    for image in (UPSTREAM_BASE, OWN_BASE):
        if inspect("image", image):
            return image
    if available(UPSTREAM_BASE):
        docker("pull", UPSTREAM_BASE, timeout=600)
        return UPSTREAM_BASE
    ensure_built(OWN_BASE, lambda: _debian(state))
    return OWN_BASE


def _debian(state: Path) -> None:
    say(f"  {UPSTREAM_BASE} cannot be pulled here: making {OWN_BASE} with mmdebstrap")
    if not shutil.which("mmdebstrap"):
        try:
            # Ubuntu lacks Debian's keys.
            apt.install("mmdebstrap", "debian-archive-keyring")
        except CommandError as error:
            raise CommandError(
                f"{UPSTREAM_BASE} cannot be pulled and mmdebstrap is missing: {error}, "
                "or give this machine access to Docker Hub"
            ) from None
    log = state / "logs" / "mmdebstrap.log"
    archive = state / "debian.tar"
    if logged(["mmdebstrap", "--variant=minbase", "trixie", archive], log, umask=0o022):
        raise CommandError(failure("mmdebstrap failed", log))
    docker("import", "--change", f"LABEL {IMAGE_LABEL}", str(archive), OWN_BASE, timeout=600)
    archive.unlink()


def available(image: str) -> bool:
    """Whether the image can be pulled; False if the registry does not answer within 20 s."""
    try:
        docker("manifest", "inspect", image, timeout=20)
    except CommandError:
        return False
    return True


def newest(target: str) -> str | None:
    """The newest image of a target of ``sandbox/images`` in the engine, from any clone; None if there is none."""
    return next(iter(docker("images", "--quiet", f"{PREFIX}/{target}").split()), None)


def ensure_built(image: str, make: Callable[[], None]) -> None:
    """Makes an image unless the engine has it, and records it for `make clean`.

    If another process of this clone is making the image, it waits for that one.
    """
    files.make_private(LOCKS)
    with (LOCKS / image.replace("/", "_")).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if inspect("image", image):
            return
        # First: what an interrupted run has made is removed, too.
        with BUILT.open("a") as record:
            record.write(f"{image}\n")
        make()


def remove_all() -> None:
    """Removes every image that this clone built, unless another container or image needs it."""
    # Later images are based on earlier ones.
    for image in reversed(list(dict.fromkeys(BUILT.read_text().split() if BUILT.exists() else []))):
        docker("rmi", image, check=False)
    docker("image", "prune", "--force", "--filter", f"label={CLONE_LABEL}")
    BUILT.unlink(missing_ok=True)
    shutil.rmtree(LOCKS, ignore_errors=True)
