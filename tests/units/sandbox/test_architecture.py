"""A host has its instance type's architecture, or is not made: nothing here emulates another processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common import docker as engine
from common.config import Config
from common.errors import CommandError
from sandbox import ec2, hosts


def instance(architecture: str) -> ec2.Instance:
    return ec2.Instance(
        *("i-1", "some.type", "ami-1", "running", "10.83.0.10", "us-east-1a", "", (), 2048, 2, ()),
        architecture=architecture,
    )


@pytest.mark.parametrize(("machine", "ours", "other"), [("x86_64", "x86_64", "arm64"), ("aarch64", "arm64", "x86_64")])
def test_only_the_engines_own(monkeypatch: Any, tmp_path: Path, machine: str, ours: str, other: str) -> None:
    """Docker says aarch64, and EC2 arm64."""
    told: list[tuple[str, ...]] = []

    class Asked(Exception):
        """It would have been made."""

    def docker(*arguments: str, **_: object) -> str:
        if arguments == ("info", "--format", "{{.Architecture}}"):
            return f"{machine}\n"
        told.append(arguments)
        raise Asked

    for module in (engine, hosts):
        monkeypatch.setattr(module, "docker", docker)
    config = Config(name="units", state=tmp_path)
    with pytest.raises(Asked):
        hosts._make(config, instance(ours), "image")
    told.clear()
    with pytest.raises(
        CommandError, match=f"some.type, which is {other}, .* engine is {ours}: .* {engine.INSTANCE_TYPES[ours]}$"
    ):
        hosts._make(config, instance(other), "image")
    assert told == []


def test_one_that_ec2_does_not_have(monkeypatch: Any) -> None:
    monkeypatch.setattr(engine, "docker", lambda *_: "riscv64\n")
    with pytest.raises(CommandError, match="the Docker Engine is riscv64, and EC2 has x86_64 and arm64 alone"):
        engine.architecture()
