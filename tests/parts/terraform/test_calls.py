"""Every request of a full cycle is allowed by its sender's policies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parts.terraform.calls import REGISTRY, Call, Judge, definitions
from tests.parts.terraform.emulator import ACCOUNT, HOST_KEY, OPERATOR_KEY, PIPELINE_KEY, REGION
from tests.parts.terraform.full_cycle import Life
from tests.parts.terraform.policies import Document, deciding

POLICIES = {
    "operator": ("comentarios-operators-identity", "comentarios-operators", "comentarios-operators-roles"),
    "pipeline": ("comentarios-pipeline",),
    "host": ("comentarios-host",),
}
KEYS = {"operator": OPERATOR_KEY, "pipeline": PIPELINE_KEY, "host": HOST_KEY}
# docker's part, which passes the registry.
DOCKER = {"operator": "push", "pipeline": "push", "host": "pull"}
# Statements that no call of this life needs, and why they are there.
REASONS = {
    "FurtherMfaDevices": "a person's own, in the console",
    "OwnPassword": "a person's own, in the console",
    "OwnMfaAndAccessKeys": "a person's own, in the console",
    "NothingElseWithoutMfa": "refuses; test_policies.py",
    "LoadBalancer": "load_balancer is off by default; two_hosts.tftest.hcl makes one",
    "RolesOfAwsOwn": "an account's first alarm that recovers, or its first load balancer",
}


@pytest.fixture(scope="module")
def calls(life: Life, checkov: Path) -> dict[str, set[Call]]:
    """Each one's distinct calls."""
    judge = Judge(definitions())
    asked = {
        who: {call for one in life.requests if one["key"] == key for call in judge.calls(one)}
        for who, key in KEYS.items()
    }
    for who, verb in DOCKER.items():
        repository = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/comentarios-api"
        asked[who] |= {Call(f"ecr:{action}", repository) for action in REGISTRY[verb]}
    return asked


def _deciding(life: Life, who: str, call: Call) -> set[str]:
    """Sids of the statements that allow a call; empty where it is denied."""
    context: dict[str, str | tuple[str, ...]] = dict(call.context) | {"aws:RequestedRegion": REGION}
    if who == "operator":
        context |= {"aws:MultiFactorAuthPresent": "true", "aws:username": "somebody"}
    documents: list[Document] = [life.policies[name] for name in POLICIES[who]]
    return deciding(documents, call.action, call.resource, context)


@pytest.mark.parametrize("who", KEYS)
def test_nothing_is_denied(life: Life, calls: dict[str, set[Call]], who: str) -> None:
    denied = [call for call in sorted(calls[who], key=str) if not _deciding(life, who, call)]
    assert denied == []


@pytest.mark.parametrize(
    ("who", "action"),
    [
        ("operator", "ec2:RunInstances"),
        ("operator", "ec2:AssociateAddress"),
        ("operator", "ec2:DetachVolume"),
        ("operator", "iam:PassRole"),
        ("operator", "iam:DeleteRolePolicy"),
        ("operator", "cloudwatch:PutMetricAlarm"),
        ("operator", "s3:PutBucketPolicy"),
        ("operator", "ssm:PutParameter"),
        ("pipeline", "ec2:AuthorizeSecurityGroupIngress"),
        ("pipeline", "ecr:DescribeImages"),
        ("host", "s3:PutObject"),
        ("host", "ssm:GetParametersByPath"),
    ],
)
def test_the_life_was_a_whole_one(calls: dict[str, set[Call]], who: str, action: str) -> None:
    assert action in {call.action for call in calls[who]}


def test_every_statement_is_needed(life: Life, calls: dict[str, set[Call]]) -> None:
    used = {sid for who in KEYS for call in calls[who] for sid in _deciding(life, who, call)}
    there = {one["Sid"] for names in POLICIES.values() for name in names for one in life.policies[name]["Statement"]}
    assert there - used == set(REASONS), "a statement that nothing needs, or a reason for one that something needs"
