"""Programs that this machine lacks: downloaded once into `.state/bin` and verified by their SHA-256."""

import hashlib
import http.client
import io
import os
import platform
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from dataclasses import dataclass

from common.errors import CommandError
from common.paths import BIN
from common.progress import step

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Program:
    """One release of a program.

    Attributes:
        name: the command.
        title: the program's name and version.
        source: URL of the folder that has its files.
        files: platform → its file there, the program or a zip archive of it, and the SHA-256.
        help: what to do if it cannot be downloaded.
    """

    name: str
    title: str
    source: str
    files: dict[str, tuple[str, str]]
    help: str


# The SHA-256 are from HashiCorp's terraform_1.11.4_SHA256SUMS.
TERRAFORM = Program(
    "terraform",
    "Terraform 1.11.4",
    "https://releases.hashicorp.com/terraform/1.11.4",
    {
        kind: (f"terraform_1.11.4_{kind}.zip", digest)
        for kind, digest in {
            "darwin_amd64": "a56d5002b9f7647291faccc3dd1a70350e60fb61e4c45037629508b8fdc2575b",
            "darwin_arm64": "867e0808fa971217043e25b7a792b10720c79b1546f8a68479b74f138be73e18",
            "linux_amd64": "1ce994251c00281d6845f0f268637ba50c0005657eb3cf096b92f753b42ef4dc",
            "linux_arm64": "a43d1d0da9b9bab214a8305a39db0e40869572594ccf50c416a7756499143633",
        }.items()
    },
    "install Terraform 1.10 or later and put it on the PATH",
)
# The SHA-256 are those of the files in Docker's own image (docker:27-cli). Docker Desktop has Compose: Linux is enough.
COMPOSE = Program(
    "docker-compose",
    "Docker Compose 2.33.0",
    "https://github.com/docker/compose/releases/download/v2.33.0",
    {
        "linux_amd64": (
            "docker-compose-linux-x86_64",
            "6395dbb256db6ea28d5c6695bc9bc33866c07ad1c93792f8d85857f1c21c34ee",
        ),
        "linux_arm64": (
            "docker-compose-linux-aarch64",
            "03a42a0fc0614ffc3c9ebca521cab75e02c427b68e45e3f6867d9510b9a28818",
        ),
    },
    "install docker-compose of Debian 13, docker-compose-v2 of Ubuntu, or docker-compose-plugin of Docker's",
)


def ensure_terraform() -> None:
    """Makes sure that `terraform` is on the PATH; ours is in `.state/bin`."""
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
    _fetch(TERRAFORM)


def compose() -> list[str]:
    """The command of Docker Compose: the client's plugin, or the one in `.state/bin`, downloaded if necessary."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    own = BIN / COMPOSE.name
    if not own.exists():
        _fetch(COMPOSE)
    return [str(own)]


def _fetch(program: Program) -> None:
    name, machine = program.name, platform.machine()
    kind = f"{sys.platform}_{MACHINES.get(machine, machine)}"
    if kind not in program.files:
        raise CommandError(f"{name} is missing, and there is no download for {kind}: {program.help}")
    file, wanted = program.files[kind]
    url = f"{program.source}/{file}"
    with step(f"{name} is missing: downloading {program.title}"):
        try:
            with urllib.request.urlopen(url, timeout=30) as reply:
                content: bytes = reply.read()
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise CommandError(
                f"{name} is missing, and {url} cannot be downloaded ({reason}): {program.help}"
            ) from None
        found = hashlib.sha256(content).hexdigest()
        if found != wanted:
            raise CommandError(f"{url} has the wrong SHA-256 ({found}) and was not installed: {program.help}")
        if file.endswith(".zip"):
            content = zipfile.ZipFile(io.BytesIO(content)).read(name)
        BIN.mkdir(parents=True, exist_ok=True)
        # Of this process: two verbs at once do not take each other's.
        beside = BIN / f".{name}.{os.getpid()}"
        beside.write_bytes(content)
        beside.chmod(0o755)
        beside.replace(BIN / name)
