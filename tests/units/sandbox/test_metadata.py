"""The metadata service asks the APIs only after a change."""

from __future__ import annotations

from pathlib import Path

import pytest
from werkzeug.test import Client

from common import keys
from common.config import Config
from sandbox import ec2
from sandbox.ec2 import Instance
from sandbox.metadata import Metadata

ONE = Instance("i-1", "t3.small", "ami-1", "running", "10.83.0.10", "us-east-1a", profile="host")


def test_the_apis_are_asked_once_until_they_change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listed, asked, count = [ONE], [], [1]

    def instances(_: Config, address: str) -> list[Instance]:
        asked.append(address)
        return [one for one in listed if one.private_ip == address]

    monkeypatch.setattr(ec2, "instances", instances)
    monkeypatch.setattr(ec2, "role", lambda _, one: f"{one.profile}-role")
    keys.make(tmp_path)
    client = Client(Metadata(Config(state=tmp_path), lambda: count[0]))
    proof = {"X-Sandbox-Proof": keys.load(tmp_path).proof(ONE.id)}
    place = {"REMOTE_ADDR": ONE.private_ip}

    def token() -> str:
        headers = proof | {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        reply = client.put("/latest/api/token", headers=headers, environ_overrides=place)
        return reply.text if reply.status_code == 200 else str(reply.status_code)

    def read(path: str) -> str:
        headers = proof | {"X-aws-ec2-metadata-token": held}
        return client.get(f"/latest/meta-data/{path}", headers=headers, environ_overrides=place).text

    held = token()
    assert read("iam/security-credentials/") == "host-role" and read("instance-type") == "t3.small"
    assert asked == [ONE.private_ip]
    # Stopped, changed and started again.
    listed[:], count[0] = [Instance(**(vars(ONE) | {"type": "t3.large"}))], 2
    assert read("instance-type") == "t3.large"
    # Terminated.
    listed[:], count[0] = [], 3
    assert token() == "403"
    assert len(asked) == 3
