"""The firewall in network namespaces: what clients of a published port see while nothing serves it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jinja2
import pytest
import yaml

from common import apt
from common.paths import ROOT

HOST, CLIENT, CONTAINER = (f"comentarios-{name}-{os.getpid()}" for name in ("host", "client", "container"))
# Docker's rule for a published port, and the container's program.
PUBLISH = (
    "table ip docker { chain in { type nat hook prerouting priority dstnat; tcp dport 80 dnat to 172.30.9.2:8080; }; }"
)
SERVE = """
import socket
listener, held = socket.create_server(("", 8080)), []
while True:
    held.append(listener.accept()[0])
    held[-1].sendall(b"served")
"""
# Says what came of a connection, and, after a line of input, of a byte that is sent on it.
ASK = """
import socket, sys
try:
    connection = socket.create_connection(("10.77.9.1", int(sys.argv[1])), 10)
    print(connection.recv(9).decode(), flush=True)
    connection.settimeout(3)
    sys.stdin.readline()
    connection.sendall(b"more")
    print(connection.recv(9).decode(), flush=True)
except OSError as error:
    print(type(error).__name__, flush=True)
"""


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Network:
    """A client, a host with the firewall, and a container behind a bridge of the host."""

    def __init__(self, rules: Path) -> None:
        self._rules = rules
        self._running: list[subprocess.Popen[str]] = []
        self._server: subprocess.Popen[str] | None = None
        run("ip", "netns", "add", CLIENT)

    def boot(self) -> None:
        run("ip", "netns", "add", HOST)
        run("ip", "netns", "add", CONTAINER)
        run("ip", "-netns", HOST, "link", "add", "br-edge", "type", "bridge")
        for other, link, mine, address in (
            (CLIENT, "eth0", "eth0", "10.77.9"),
            (CONTAINER, "veth0", "br-edge", "172.30.9"),
        ):
            run("ip", "-netns", HOST, "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", other)
            run("ip", "-netns", HOST, "link", "set", link, "up")
            run("ip", "-netns", HOST, "address", "add", f"{address}.1/24", "dev", mine)
            run("ip", "-netns", other, "address", "add", f"{address}.2/24", "dev", "eth0")
            run("ip", "-netns", other, "link", "set", "eth0", "up")
            run("ip", "-netns", other, "route", "add", "default", "via", f"{address}.1")
        run("ip", "-netns", HOST, "link", "set", "veth0", "master", "br-edge")
        run("ip", "-netns", HOST, "link", "set", "br-edge", "up")
        run("ip", "netns", "exec", HOST, "sysctl", "--quiet", "--write", "net.ipv4.ip_forward=1")
        run("ip", "netns", "exec", HOST, "nft", "--file", str(self._rules))

    def cut(self) -> None:
        """The host's power: connections, Docker's rules and the container are gone."""
        assert self._server
        # The network first: a program that ends closes its connections.
        run("ip", "-netns", CLIENT, "link", "delete", "eth0")
        run("ip", "netns", "delete", HOST)
        self._server.kill()
        self._server.wait()
        run("ip", "netns", "delete", CONTAINER)

    def publish(self) -> None:
        run("ip", "netns", "exec", HOST, "nft", PUBLISH)

    def serve(self) -> None:
        self._server = self._python(CONTAINER, SERVE)

    def ask(self, port: int = 80) -> subprocess.Popen[str]:
        return self._python(CLIENT, ASK, str(port))

    def _python(self, where: str, *arguments: str) -> subprocess.Popen[str]:
        command = ["ip", "netns", "exec", where, sys.executable, "-c", *arguments]
        self._running.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return self._running[-1]

    def remove(self) -> None:
        for process in self._running:
            process.kill()
            process.communicate()
        for name in (HOST, CLIENT, CONTAINER):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    if not shutil.which("nft"):
        apt.install("nftables")
    role = ROOT / "roles/base"
    variables = yaml.safe_load((role / "defaults/main.yml").read_text()) | {"ansible_managed": ""}
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    rules = tmp_path / "firewall.nft"
    rules.write_text(environment.from_string((role / "templates/firewall.nft.j2").read_text()).render(variables) + "\n")
    made = Network(rules)
    try:
        made.boot()
        yield made
    finally:
        made.remove()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_new_connection_waits_for_the_container(network: Network) -> None:
    """First no port is published, then nothing listens on it. A port that nobody will publish is refused."""
    asked = [network.ask()]
    time.sleep(0.5)
    network.publish()
    asked.append(network.ask())
    time.sleep(0.5)
    assert [one.poll() for one in asked] == [None, None]
    network.serve()
    assert [_line(one) for one in asked] == ["served", "served"]
    assert _line(network.ask(443)) == "ConnectionRefusedError"


def test_connection_from_before_a_power_cut_is_reset_at_once(network: Network) -> None:
    """So that its client makes a new one, whether or not the port is published again."""
    network.publish()
    network.serve()
    asked = [network.ask(), network.ask()]
    assert [_line(one) for one in asked] == ["served", "served"]
    network.cut()
    network.boot()
    for one in asked:
        assert one.stdin
        one.stdin.write("\n")
        one.stdin.flush()
        assert _line(one) == "ConnectionResetError"
        network.publish()
