"""The machine's firewall blocks the hosts' network: the error comes at once, with the rule that allows it."""

from __future__ import annotations

import ipaddress
import socket
import subprocess

import pytest

from common.config import Config
from common.images import base
from sandbox import checks, images


@pytest.fixture
def network(tmp_path):
    """A sandbox's network with two listeners where its APIs would be."""
    config = Config(
        name="comentarios-denied",
        subnet=ipaddress.IPv4Network("10.99.8.0/24"),
        aws_port=4691,
        metadata_port=4692,
        state=tmp_path,
    )
    subprocess.run(["docker", "network", "rm", config.name], capture_output=True, check=False)
    create = ["docker", "network", "create", "--subnet", str(config.subnet), "--gateway", config.gateway, config.name]
    subprocess.run(create, check=True, capture_output=True)
    images.choose(config, base=base(config.state))
    try:
        with (
            socket.create_server((config.gateway, config.aws_port)),
            socket.create_server((config.gateway, config.metadata_port)),
        ):
            yield config
    finally:
        subprocess.run(["docker", "network", "rm", config.name], check=True, capture_output=True)


def test_firewall_that_denies(network):
    assert checks.blocked(network) == ""
    rule = ["INPUT", "-p", "tcp", "-s", str(network.subnet), "--dport", "4691", "-j", "DROP"]
    subprocess.run(["iptables", "-I", *rule], check=True)
    try:
        problem = checks.blocked(network)
    finally:
        subprocess.run(["iptables", "-D", *rule], check=True)
    assert problem.startswith(
        "the hosts (10.99.8.0/24) cannot reach the sandbox on 10.99.8.1, port 4691: a firewall (iptables or nftables) "
    )
    assert "blocks the traffic; allow it with `sudo iptables -I INPUT -p tcp -s 10.99.8.0/24 -d 10.99.8.1" in problem
