"""A Docker Engine of another Debian release beside the running one: `python -m tests.support.engines trixie make up`.

Its programs come from that release's archive into a folder. It runs in a network of its own, so that its firewall rules
and bridges touch nobody's, and so does the command: the controller of a sandbox sits on the machine of its engine.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.paths import ROOT

NAME, OURS, THEIRS, WIDTH = "engines", "10.94.250.1", "10.94.250.2", 30
PACKAGES = ("docker.io", "docker-cli", "iptables", "iproute2", "kmod", "ca-certificates")
# What the engine needs of the machine; its own folders lie on the machine's disk. The folder becomes the root of the
# mounts, for runc changes that: in a chroot the containers' root would lie below the machine's, and `docker exec` would
# run its command in the machine's.
START = """
mount --bind {root} {root}
cd {root}
for folder in proc sys dev; do mount --rbind /$folder ./$folder; done
mkdir -p lib/modules machine && mount --bind /lib/modules ./lib/modules || true
for folder in {shared}; do mkdir -p ./$folder; mount --bind $folder ./$folder; done
mount -t tmpfs tmpfs ./run
pivot_root . ./machine
exec chroot . sh -c 'umount --lazy /machine && exec dockerd --host unix:///engine.sock'
"""


@dataclass(frozen=True)
class Engine:
    """An engine that runs.

    Attributes:
        root: the folder that holds its release's programs and all that it keeps.
    """

    root: Path

    def run(self, command: Sequence[str], **variables: str) -> int:
        """Runs a command in the engine's network, with the engine as Docker's; returns its exit status."""
        environment = {**os.environ, "DOCKER_HOST": f"unix://{self.root}/engine.sock", **variables}
        return subprocess.run([*_inside(), *command], env=environment, check=False).returncode


@contextlib.contextmanager
def engine(release: str, folder: Path, *more: str) -> Iterator[Engine]:
    """An engine of a Debian release for as long as the block runs; its programs and images are kept in the folder.

    Args:
        more: further packages, `docker-buildx` say.
    """
    root = (folder / release).absolute()
    if not (root / "usr" / "sbin" / "dockerd").exists():
        # What an attempt that failed left.
        shutil.rmtree(root, ignore_errors=True)
        packages = ",".join((*PACKAGES, *more))
        # A mirror may lag behind, and what sid's lists say of their end is a week.
        options = ["--variant=minbase", f"--include={packages}", '--aptopt=Acquire::Check-Valid-Until "false"']
        subprocess.run(["mmdebstrap", "--quiet", *options, release, root], check=True)
    (root / "etc" / "resolv.conf").write_text(Path("/etc/resolv.conf").read_text())
    with _network(), (folder / f"{release}.log").open("w") as log:
        # What a run that was killed left.
        (root / "var" / "run" / "docker.pid").unlink(missing_ok=True)
        # What tests mount into containers.
        start = START.format(root=root, shared=shlex.join(map(str, (ROOT, tempfile.gettempdir()))))
        command = [*_inside(), "unshare", "--mount", "--propagation", "private", "sh", "-ec", start]
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            made = Engine(root)
            deadline = time.monotonic() + 60
            while made.run(["docker", "version", "--format", "{{.Server.Version}}"]):
                assert process.poll() is None and time.monotonic() < deadline, f"see {folder}/{release}.log"
                time.sleep(0.5)
            yield made
        finally:
            process.terminate()
            process.wait(60)


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """A network of its own, with a way out through this machine."""
    _leave()
    for command in (
        f"ip netns add {NAME}",
        f"ip link add {NAME} type veth peer name eth0 netns {NAME}",
        f"ip address add {OURS}/{WIDTH} dev {NAME}",
        f"ip link set {NAME} up",
        f"ip -netns {NAME} address add {THEIRS}/{WIDTH} dev eth0",
        f"ip -netns {NAME} link set eth0 up",
        f"ip -netns {NAME} link set lo up",
        f"ip -netns {NAME} route add default via {OURS}",
        *(f"iptables {rule}" for rule in _rules("--insert")),
    ):
        subprocess.run(command.split(), check=True)
    try:
        yield
    finally:
        _leave()


def _leave() -> None:
    for command in (
        *(f"iptables {rule}" for rule in _rules("--delete")),
        f"ip link delete {NAME}",
        f"ip netns delete {NAME}",
    ):
        subprocess.run(command.split(), check=False, capture_output=True)


def _rules(action: str) -> list[str]:
    return [
        f"--table nat {action} POSTROUTING --source {THEIRS} ! --out-interface {NAME} --jump MASQUERADE",
        f"{action} FORWARD --in-interface {NAME} --jump ACCEPT",
        f"{action} FORWARD --out-interface {NAME} --jump ACCEPT",
    ]


def _inside() -> list[str]:
    # Not `ip netns exec`: it mounts another /sys, which has no cgroups below.
    return ["nsenter", f"--net=/run/netns/{NAME}"]


def main() -> int:
    release, *command = sys.argv[1:]
    folder = Path(os.environ.get("ENGINES", ".state/engines"))
    folder.mkdir(parents=True, exist_ok=True)
    with engine(release, folder, *os.environ.get("PACKAGES", "").split()) as made:
        return made.run(command)


if __name__ == "__main__":
    sys.exit(main())
