"""The metadata service: who asks is found by the APIs, and not again for each of a client's requests in a row."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from common import keys
from common.config import Config
from sandbox import ec2, metadata

ONE = ec2.Instance(
    id="i-1",
    type="t3.small",
    image="ami-1",
    state="running",
    private_ip="10.1.0.10",
    zone="eu-west-1b",
    role="",
    public_keys=(),
    memory=2048,
    cpus=2,
    volumes=(),
)
LASTING = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that the APIs are asked for."""
    asked: list[str] = []

    def instances(_: Config, address: str) -> list[ec2.Instance]:
        asked.append(address)
        return [ONE] if address == ONE.private_ip else []

    monkeypatch.setattr(ec2, "instances", instances)
    return asked


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Any]:
    keys.make(tmp_path)
    return functools.partial(Client(metadata.Metadata(Config(state=tmp_path))).open)


def proof(folder: Path) -> dict[str, str]:
    return {"X-Sandbox-Proof": keys.load(folder).proof(ONE.id)}


def test_requests_in_a_row(
    ask: Callable[..., Any], listed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As boto3 asks for credentials: three; a few seconds later the APIs are asked again."""
    now = 1000.0
    monkeypatch.setattr("sandbox.metadata.time.monotonic", lambda: now)
    place = {"REMOTE_ADDR": ONE.private_ip}
    token = ask("/latest/api/token", method="PUT", headers=proof(tmp_path) | LASTING, environ_overrides=place).text
    given = proof(tmp_path) | {"X-aws-ec2-metadata-token": token}
    for path, text in (("placement/region", "eu-west-1"), ("instance-id", "i-1")):
        assert ask(f"/latest/meta-data/{path}", headers=given, environ_overrides=place).text == text
    assert listed == [ONE.private_ip]
    now += 10
    assert ask("/latest/meta-data/instance-id", headers=given, environ_overrides=place).text == "i-1"
    assert listed == [ONE.private_ip] * 2


@pytest.mark.parametrize("address", [ONE.private_ip, "10.1.0.11"])
def test_who_has_no_proof_of_its_own_stays_out(
    ask: Callable[..., Any], listed: list[str], tmp_path: Path, address: str
) -> None:
    """Whatever was asked with the right one a moment ago."""
    right, at = proof(tmp_path), {"REMOTE_ADDR": ONE.private_ip}
    assert ask("/latest/api/token", method="PUT", headers=right | LASTING, environ_overrides=at).status_code == 200
    shown = {"X-Sandbox-Proof": "guessed"} if address == ONE.private_ip else right
    there = {"REMOTE_ADDR": address}
    for headers in (shown, {}):
        refused = ask("/latest/api/token", method="PUT", headers=headers | LASTING, environ_overrides=there)
        assert refused.status_code == 403
