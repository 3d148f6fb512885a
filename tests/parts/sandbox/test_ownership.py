"""Two clones on one machine, and a clone that was removed without `make down`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from common.docker import inspect
from common.images import base
from sandbox.__main__ import _remove_network
from tests.support.site import environment, run

# Below the ports that the kernel gives to clients, any of which may be in use just now.
SANDBOX = {
    "SANDBOX_NAME": "comentarios-claim",
    "SANDBOX_SUBNET": "10.88.0.0/24",
    "SANDBOX_REGISTRY_PORT": "4571",
    "EDGE_PORT": "8095",
}


def sandbox_command(state: Path, command: str) -> subprocess.CompletedProcess[str]:
    """The sandbox's own command, as of a clone with that state folder."""
    return run([sys.executable, "-m", "sandbox", command], environment({**SANDBOX, "SANDBOX_STATE": str(state)}), 600)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The state folders of two clones. The first one's sandbox may be up, which saves its start."""
    folder = tmp_path_factory.mktemp("clones")
    both = folder / "one", folder / "other"
    yield both
    for state in both:
        sandbox_command(state, "down")
    assert inspect("network", SANDBOX["SANDBOX_NAME"]) is None


def test_another_clones_sandbox(folders: tuple[Path, Path]):
    """It is refused by name, and goes on."""
    one, other = folders
    started = sandbox_command(one, "start")
    assert started.returncode == 0, started.stdout
    for command in ("start", "down"):
        refused = sandbox_command(other, command)
        assert refused.returncode == 1
        assert refused.stdout == (
            f"✗ the sandbox comentarios-claim belongs to {one}: run `make down` there, or set SANDBOX_NAME, "
            "SANDBOX_SUBNET, SANDBOX_REGISTRY_PORT and EDGE_PORT for a second one\n"
        )
    healthy = sandbox_command(one, "status")
    assert healthy.returncode == 0, healthy.stdout


def test_container_of_somebody_elses_in_the_network(folders: tuple[Path, Path]):
    """`down` removes what it made, and names what it did not make and cannot go on beside."""
    one, _ = folders
    assert sandbox_command(one, "start").returncode == 0
    name = SANDBOX["SANDBOX_NAME"]
    image = inspect("container", f"{name}-ecr")["Config"]["Image"]
    command = [
        "docker",
        "run",
        "--detach",
        "--name",
        "stranger",
        "--network",
        name,
        "--entrypoint",
        "sleep",
        image,
        "60",
    ]
    subprocess.run(command, check=True, capture_output=True)
    try:
        refused = sandbox_command(one, "down")
    finally:
        subprocess.run(["docker", "rm", "--force", "stranger"], check=True, capture_output=True)
    assert refused.returncode == 1
    assert (
        f"✗ stranger in the network {name} is not part of the sandbox: remove it, then run the same command again"
        in refused.stdout
    )
    assert sandbox_command(one, "down").returncode == 0


def test_network_whose_last_address_is_not_free_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """As after a container's removal, when the engine is not done with it. Then the network is removed."""
    name = "comentarios-busy"
    subprocess.run(["docker", "network", "create", name], check=True, capture_output=True)
    try:
        command = ["run", "--detach", "--rm", "--network", name, base(tmp_path), "sleep", "2"]
        subprocess.run(["docker", *command], check=True, capture_output=True)
        _remove_network(name)
        assert inspect("network", name) is None
        assert f"docker network rm: Error response from daemon: error while removing network: network {name}" in (
            capsys.readouterr().out
        )
    finally:
        subprocess.run(["docker", "network", "rm", name], check=False, capture_output=True)


def test_clone_that_was_removed(folders: tuple[Path, Path], eventually: Callable[..., object]):
    """What it left is removed, the next one starts from nothing, and its server has ended by itself."""
    one, other = folders
    assert sandbox_command(one, "start").returncode == 0
    server = Path("/proc") / (one / "server.pid").read_text()
    registry = inspect("container", "comentarios-claim-ecr")["Id"]
    shutil.rmtree(one)
    eventually(lambda: not server.exists() or "Z" in (server / "stat").read_text(), 30)
    started = sandbox_command(other, "start")
    assert started.returncode == 0, started.stdout
    assert "removing the leftovers of an earlier sandbox" in started.stdout
    assert inspect("container", "comentarios-claim-ecr")["Id"] != registry
    healthy = sandbox_command(other, "status")
    assert healthy.returncode == 0, healthy.stdout
    assert sandbox_command(other, "down").returncode == 0
