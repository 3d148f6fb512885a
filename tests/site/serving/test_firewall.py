"""The host's ports from outside: the sandbox's network has the role of the internet."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess

import pytest
import requests

from tests.support.scan import OPEN, REFUSED, SILENT, knock


def test_every_tcp_port(scanned):
    """Of 65,535 ports 22 and 80 are open; 443 refuses, as nothing listens without a domain; no other says a word."""
    done = scanned.result()
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout) == [65535, {"22": OPEN, "80": OPEN, "443": REFUSED}]


def test_published_port_stays_inside(up, neighbour):
    """What Docker publishes on every address answers on the host only; nor is a container's own address a way round."""
    image = up.ssh("grep ^API_IMAGE= /opt/comentarios/.env | cut -d= -f2").stdout.strip()
    started = up.ssh(
        f"docker run -d --name door -p 8081:8000 {image} python3 -m http.server --directory /app 8000 "
        "&& docker inspect --format '{{.NetworkSettings.IPAddress}}' door"
    )
    try:
        assert started.returncode == 0, started.stderr
        inside = started.stdout.split()[-1]
        on_host = "curl --silent --retry 5 --retry-connrefused --max-time 10 http://{}:8081/"
        for address in ("127.0.0.1", up.host.address):
            assert "Directory listing" in up.ssh(on_host.format(address)).stdout
        assert knock(up.host.address, [8081]) == {8081: SILENT}
        # Somebody in the same network who takes the host for a router.
        neighbour("ip", "route", "replace", f"{inside}/32", "via", up.host.address)
        for url in (f"http://{up.host.address}:8081/", f"http://{inside}:8000/"):
            assert neighbour("curl", "--silent", "--max-time", "3", url, check=False).returncode == 28, url
    finally:
        up.ssh("docker rm --force door")


@pytest.mark.parametrize(
    ("user", "options"),
    [("root", []), ("admin", ["-o", "PreferredAuthentications=password,keyboard-interactive"])],
)
def test_logins(up, user, options):
    """Root does not get in with the key that lets the user in; nor does the user with anything but the key."""
    # So that only sshd's setting refuses root.
    assert up.ssh("sudo install -D -m 0600 .ssh/authorized_keys /root/.ssh/authorized_keys").returncode == 0
    key = up.target.variables["ANSIBLE_PRIVATE_KEY_FILE"]
    done = subprocess.run(
        [
            *("ssh", "-F", "none", "-i", key, "-o", "BatchMode=yes", "-o", f"HostKeyAlias={up.host.instance_id}"),
            *("-o", f"UserKnownHostsFile={up.target.state}/known_hosts", "-o", "ConnectTimeout=10", *options),
            *(f"{user}@{up.host.address}", "true"),
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 255
    assert "Permission denied (publickey)." in done.stderr


def test_connections_of_one_client(up, neighbour, eventually):
    """One client that opens 700 connections gets 512; others are served meanwhile, and itself as soon as it closes."""
    with contextlib.ExitStack() as held:
        refused = 0
        for _ in range(700):
            try:
                held.enter_context(socket.create_connection((up.host.address, 80), timeout=5))
            except ConnectionRefusedError:
                refused += 1
        # A few of the 512 may be connections that earlier tests left open.
        assert 188 <= refused <= 220
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://{up.host.address}/readyz", timeout=5)
        url = f"http://{up.host.address}/readyz"
        assert neighbour("curl", "--silent", "--fail", "--max-time", "5", url).returncode == 0
        assert up.ssh(f"curl --silent --fail --max-time 5 {url}").returncode == 0
    assert eventually(lambda: requests.get(f"http://{up.host.address}/readyz", timeout=5).status_code) == 200


@pytest.fixture
def neighbour(up):
    """Runs commands on a machine of its own in the host's network; checked unless ``check`` is false."""
    name = f"{os.environ['SANDBOX_NAME']}-neighbour"
    host = f"{os.environ['SANDBOX_NAME']}-{up.host.instance_id}"
    image = _docker("inspect", "--format", "{{.Image}}", host).stdout.strip()
    _docker(
        *("run", "--detach", "--rm", "--name", name, "--network", os.environ["SANDBOX_NAME"], "--cap-add", "NET_ADMIN"),
        *("--entrypoint", "sleep", image, "120"),
    )
    yield lambda *command, check=True: _docker("exec", name, *command, check=check)
    _docker("rm", "--force", name)


def _docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=check)
