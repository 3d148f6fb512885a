"""A host of another architecture is refused, since nothing is emulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common import architecture
from common.config import Config
from common.errors import CommandError
from sandbox import ec2, hosts


def instance(kind: str) -> ec2.Instance:
    return ec2.Instance("i-1", "some.type", "ami-1", "running", "10.83.0.10", "us-east-1a", architecture=kind)


@pytest.mark.parametrize(("engine", "ours", "other"), [("x86_64", "x86_64", "arm64"), ("aarch64", "arm64", "x86_64")])
def test_only_the_engines_own(monkeypatch: Any, tmp_path: Path, engine: str, ours: str, other: str) -> None:
    """Docker says aarch64, and EC2 arm64."""
    told: list[tuple[str, ...]] = []

    class Asked(Exception):
        """It would have been made."""

    def docker(*arguments: str, **_: object) -> str:
        if arguments == ("info", "--format", "{{.Architecture}}"):
            return f"{engine}\n"
        told.append(arguments)
        raise Asked

    monkeypatch.setattr(hosts, "docker", docker)
    monkeypatch.setattr(architecture, "docker", docker)
    config = Config(name="units", state=tmp_path)
    with pytest.raises(Asked):
        hosts._make(config, instance(ours), "image")
    told.clear()
    with pytest.raises(
        CommandError, match=f"some.type, which is {other}, .* engine is {ours}: .* {architecture.TYPES[ours]}$"
    ):
        hosts._make(config, instance(other), "image")
    assert told == []


def test_one_that_ec2_does_not_have(monkeypatch: Any) -> None:
    monkeypatch.setattr(architecture, "docker", lambda *_: "riscv64\n")
    with pytest.raises(
        CommandError, match="the Docker Engine's architecture is riscv64, and EC2 has only x86_64 and arm64"
    ):
        architecture.of_engine()
