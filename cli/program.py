"""Terraform: the one on the PATH, OpenTofu, or HashiCorp's release, which is downloaded once and verified."""

from __future__ import annotations

import hashlib
import io
import platform
import shutil
import sys
import urllib.request
import zipfile
from pathlib import Path

from common.errors import CommandError
from common.paths import BIN
from common.progress import step

VERSION = "1.11.4"
SOURCE = "https://releases.hashicorp.com/terraform"
# The archives' SHA-256, as in HashiCorp's terraform_1.11.4_SHA256SUMS.
ARCHIVES = {
    "darwin_amd64": "a56d5002b9f7647291faccc3dd1a70350e60fb61e4c45037629508b8fdc2575b",
    "darwin_arm64": "867e0808fa971217043e25b7a792b10720c79b1546f8a68479b74f138be73e18",
    "linux_amd64": "1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc",
    "linux_arm64": "a43d1d0da9b9bab214a8305a39db0e40869572594ccf50c416a7756499143633",
}
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
HELP = "install Terraform 1.10 or later and put it on the PATH"


def ensure() -> None:
    """Makes sure that `terraform` is on the PATH; ours is in `.state/bin`.

    Raises:
        CommandError: it is missing and cannot be downloaded.
    """
    if shutil.which("terraform"):
        return
    own = BIN / "terraform"
    BIN.mkdir(parents=True, exist_ok=True)
    # It may be a link to an OpenTofu that was removed.
    own.unlink(missing_ok=True)
    if tofu := shutil.which("tofu"):
        # It takes the same commands, which under this name work in every tool.
        own.symlink_to(tofu)
        return
    with step(f"terraform is missing: downloading Terraform {VERSION}"):
        _fetch(own)


def _fetch(own: Path) -> None:
    machine = platform.machine()
    kind = f"{sys.platform}_{MACHINES.get(machine, machine)}"
    if kind not in ARCHIVES:
        raise CommandError(f"terraform is missing, and there is no download for {kind}: {HELP}")
    url = f"{SOURCE}/{VERSION}/terraform_{VERSION}_{kind}.zip"
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            archive: bytes = reply.read()
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise CommandError(f"terraform is missing, and {url} cannot be downloaded ({reason}): {HELP}") from None
    found = hashlib.sha256(archive).hexdigest()
    if found != ARCHIVES[kind]:
        raise CommandError(f"{url} has the wrong SHA-256 ({found}) and was not installed: {HELP}")
    beside = own.with_suffix(".new")
    beside.write_bytes(zipfile.ZipFile(io.BytesIO(archive)).read("terraform"))
    beside.chmod(0o755)
    beside.replace(own)
