"""The overview needs the sandbox's keys, which its hosts do not have."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server
from werkzeug.test import Client

from common import keys
from common.config import Config
from common.paths import ROOT
from sandbox import ec2, elb, overview
from sandbox.metadata import Metadata

ONE = ec2.Instance("i-1", "t3.small", "ami-1", "running", "10.83.0.10", "us-east-1a", volumes=("vol-1",))
BALANCER = {"LoadBalancerName": "site", "Address": "10.83.0.15", "Listeners": [{"Protocol": "HTTP", "Port": 80}]}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """A sandbox whose metadata service answers."""
    made = BALANCER | {"CreatedTime": datetime.datetime.now(datetime.UTC)}
    monkeypatch.setattr(ec2, "instances", lambda *_: [ONE])
    monkeypatch.setattr(elb, "balancers", lambda _: [made])
    keys.make(tmp_path)
    server = make_server("127.0.0.1", 0, Metadata(Config(state=tmp_path), lambda: 0), threaded=True)
    # The gateway is the first address of the network.
    network = ipaddress.IPv4Network("127.0.0.0/24")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Config(subnet=network, metadata_port=server.server_port, state=tmp_path)
    server.shutdown()


def test_what_the_apis_list(config: Config) -> None:
    told = overview.ask(config)
    assert told and [dataclasses.replace(one, volumes=tuple(one.volumes)) for one in told.instances] == [ONE]
    assert elb.url(told.balancers[0]) == "http://10.83.0.15"


def test_another_sandboxs_keys(config: Config, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    keys.make(tmp_path / "other")
    assert overview.ask(dataclasses.replace(config, state=tmp_path / "other")) is None
    assert overview.ask(dataclasses.replace(config, state=tmp_path / "none")) is None


def test_apis_that_fail(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("moto's process has ended")

    monkeypatch.setattr(ec2, "instances", fail)
    assert overview.ask(config) is None


def test_a_host_is_refused(config: Config) -> None:
    client, own = Client(Metadata(config, lambda: 0)), keys.load(config.state)
    for proof in ({}, {overview.PROOF: own.proof(ONE.id)}, {overview.PROOF: "é"}):
        reply = client.get(overview.PATH, headers=proof, environ_overrides={"REMOTE_ADDR": ONE.private_ip})
        assert reply.status_code == 403 and b"i-1" not in reply.data


def test_a_command_imports_nothing_large() -> None:
    """Imports took half of the time of `make status`."""
    large = ("bcrypt", "botocore", "cryptography", "moto", "requests", "rich", "werkzeug")
    code = f"import sys, sandbox.__main__\nprint(*sorted(set({large!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
