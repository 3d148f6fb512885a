"""Who may log in: each operator has an entry, and Terraform gets all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli import people
from cli.names import Names
from cli.targets import Target

ALICE = {"ssh_public_key": "ssh-ed25519 AAAA alice", "admin_cidrs": ["203.0.113.7/32"], "instance_type": "t3.small"}
BOB = {"ssh_public_key": "ssh-ed25519 BBBB bob\n", "admin_cidrs": ["198.51.100.7/32"]}


class Aws:
    """SSM's parameters and STS's answer, as much as is asked of them."""

    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}
        self.arn = "arn:aws:iam::123456789012:user/alice"
        self.puts = 0

    def __call__(self, _: Target, service: str) -> Any:
        return self

    def get_caller_identity(self) -> dict[str, str]:
        return {"Arn": self.arn}

    def get_paginator(self, _: str) -> Any:
        return self

    def paginate(self, Path: str, Recursive: bool) -> list[dict[str, Any]]:
        found = {name: value for name, value in self.parameters.items() if name.startswith(f"{Path}/")}
        return [{"Parameters": [{"Name": name, "Value": value} for name, value in found.items()]}]

    def put_parameter(self, Name: str, Value: str, Type: str, Overwrite: bool) -> None:
        self.puts += 1
        self.parameters[Name] = Value

    def delete_parameter(self, Name: str) -> None:
        del self.parameters[Name]


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target("aws", tmp_path, {}, names=Names(environment="staging"))


def test_a_second_operator_takes_nothing_away(target: Target) -> None:
    aws = Aws()
    people.join(target, ALICE, aws)
    aws.arn = "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Operators_0123456789/bob@example.com"
    people.join(target, BOB, aws)
    assert set(aws.parameters) == {
        f"/staging-comentarios/people/{name}"
        for name in ("alice/key", "alice/cidrs", "bob-example.com/key", "bob-example.com/cidrs")
    }
    merged = people.merged(target, BOB)
    assert merged["admin_cidrs"] == ["198.51.100.7/32", "203.0.113.7/32"]
    assert merged["ssh_public_keys"] == ["ssh-ed25519 AAAA alice", "ssh-ed25519 BBBB bob"]
    # What a new host is made with is the caller's own all the same.
    assert merged["ssh_public_key"] == BOB["ssh_public_key"]


def test_one_s_own_entry_follows_the_settings(target: Target) -> None:
    aws = Aws()
    people.join(target, ALICE, aws)
    people.join(target, ALICE, aws)
    assert aws.puts == 2
    people.join(target, ALICE | {"admin_cidrs": [], "ssh_public_keys": ["ssh-ed25519 CCCC new"]}, aws)
    assert aws.parameters == {"/staging-comentarios/people/alice/key": "ssh-ed25519 AAAA alice\nssh-ed25519 CCCC new"}


def test_nobody_was_seen_yet(target: Target) -> None:
    assert people.merged(target, ALICE) == ALICE


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        ("arn:aws:iam::123456789012:root", "root"),
        ("arn:aws:iam::123456789012:user/team/alice", "alice"),
        ("arn:aws:sts::123456789012:assumed-role/operators/botocore-session-1780000000", "operators"),
    ],
)
def test_name_of_who_asks(arn: str, name: str) -> None:
    assert people._name(arn) == name
