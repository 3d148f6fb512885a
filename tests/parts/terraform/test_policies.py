"""What each identity may and may not do, by the documents that the API has."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.parts.terraform.emulator import ACCOUNT, REGION
from tests.parts.terraform.full_cycle import BACKUP, BUCKET, Life
from tests.parts.terraform.policies import allows

STATE = f"arn:aws:s3:::{BUCKET}"
BACKUPS = f"arn:aws:s3:::{BACKUP}"
REPOSITORY = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/comentarios-api"
OTHER_REPOSITORY = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/other"
GROUP = f"arn:aws:ec2:{REGION}:{ACCOUNT}:security-group/sg-1"
EC2 = f"arn:aws:ec2:{REGION}:{ACCOUNT}"
INSTANCE = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/i-1"
PARAMETERS = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/comentarios"
PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/comentarios/database_url"
OTHER_PARAMETER = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/other/database_url"
HOST = f"arn:aws:iam::{ACCOUNT}:role/comentarios-host"
PIPELINE = f"arn:aws:iam::{ACCOUNT}:role/comentarios-pipeline"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/comentarios-host-boundary"
USER = f"arn:aws:iam::{ACCOUNT}:user/somebody"

OURS = {"aws__ResourceTag___Project": "comentarios"}
WINDOW = OURS | {"aws__ResourceTag___SshAccess": "pipeline"}
MADE = {"aws__RequestTag___Project": "comentarios"}
SMALL = {"ec2__InstanceType": "t3.small"}
ALARM = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:comentarios-1-system"
MFA = {"aws__MultiFactorAuthPresent": "true"}
NO_MFA = {"aws__MultiFactorAuthPresent": "false"}
OPERATORS = ("comentarios-operators-identity", "comentarios-operators", "comentarios-operators-roles")

Case = tuple[str, str, dict[str, str]]

HOST_MAY: list[Case] = [
    ("ecr:GetAuthorizationToken", "*", {}),
    ("ecr:BatchGetImage", REPOSITORY, {}),
    ("s3:PutObject", f"{BACKUPS}/database/2026.db", {"s3:if-none-match": "*"}),
    ("s3:PutObject", f"{BACKUPS}/logs/comentarios-1.i-0/2026.gz", {"s3:if-none-match": "*"}),
    ("s3:GetObject", f"{BACKUPS}/database/2026.db", {}),
    ("s3:ListBucket", BACKUPS, {"s3__prefix": "database/"}),
    ("ssm:GetParameter", PARAMETER, {}),
    ("ssm:GetParametersByPath", PARAMETERS, {}),
]
HOST_MAY_NOT: list[Case] = [
    ("ecr:BatchGetImage", OTHER_REPOSITORY, {}),
    ("ecr:PutImage", REPOSITORY, {}),
    ("ecr:BatchDeleteImage", REPOSITORY, {}),
    ("s3:PutObject", f"{BACKUPS}/elsewhere/2026.db", {}),
    # Over one that is there: S3 refuses that by itself only where this header came along.
    ("s3:PutObject", f"{BACKUPS}/database/2026.db", {}),
    ("s3:PutObject", f"{BACKUPS}/logs/comentarios-1.i-0/2026.gz", {}),
    ("s3:GetObject", f"{BACKUPS}/logs/comentarios-1.i-0/2026.gz", {}),
    ("s3:ListBucket", BACKUPS, {"s3__prefix": "logs/"}),
    ("s3:PutObjectAcl", f"{BACKUPS}/database/2026.db", {}),
    ("s3:PutBucketVersioning", BACKUPS, {}),
    ("s3:PutBucketPolicy", BACKUPS, {}),
    ("s3:DeleteObject", f"{BACKUPS}/database/2026.db", {}),
    ("s3:DeleteObjectVersion", f"{BACKUPS}/database/2026.db", {}),
    ("s3:PutLifecycleConfiguration", BACKUPS, {}),
    ("s3:ListBucket", BACKUPS, {}),
    ("s3:GetObject", f"{STATE}/host/terraform.tfstate", {}),
    ("ssm:GetParameter", OTHER_PARAMETER, {}),
    ("ssm:PutParameter", PARAMETER, {}),
    ("ec2:AuthorizeSecurityGroupIngress", GROUP, WINDOW),
    ("ec2:DescribeInstances", "*", {}),
    ("iam:PassRole", HOST, {}),
    ("sts:AssumeRole", PIPELINE, {}),
]

PIPELINE_MAY: list[Case] = [
    ("ecr:GetAuthorizationToken", "*", {}),
    ("ecr:PutImage", REPOSITORY, {}),
    ("ec2:DescribeInstances", "*", {}),
    ("ec2:AuthorizeSecurityGroupIngress", GROUP, WINDOW),
    ("ec2:RevokeSecurityGroupIngress", GROUP, WINDOW),
]
PIPELINE_MAY_NOT: list[Case] = [
    ("ecr:PutImage", OTHER_REPOSITORY, {}),
    ("ecr:BatchDeleteImage", REPOSITORY, {}),
    ("ecr:DeleteRepository", REPOSITORY, {}),
    ("ecr:PutImageTagMutability", REPOSITORY, {}),
    ("s3:PutObject", f"{STATE}/host/terraform.tfstate", {}),
    ("s3:DeleteObject", f"{STATE}/host/terraform.tfstate", {}),
    ("s3:GetObject", f"{STATE}/host/terraform.tfstate", {}),
    ("s3:ListBucket", STATE, {"s3__prefix": "host/terraform.tfstate"}),
    ("s3:GetObject", f"{STATE}/bootstrap/terraform.tfstate", {}),
    ("s3:ListBucket", STATE, {"s3__prefix": "bootstrap/"}),
    ("s3:GetObject", f"{BACKUPS}/database/2026.db", {}),
    ("ec2:AuthorizeSecurityGroupIngress", GROUP, {}),
    ("ec2:AuthorizeSecurityGroupIngress", GROUP, OURS),
    ("ec2:AuthorizeSecurityGroupIngress", GROUP, WINDOW | {"aws__ResourceTag___Project": "other"}),
    ("ec2:AuthorizeSecurityGroupEgress", GROUP, WINDOW),
    ("ec2:CreateTags", GROUP, WINDOW),
    ("ec2:ModifySecurityGroupRules", GROUP, WINDOW),
    ("ec2:RunInstances", INSTANCE, OURS),
    ("ec2:TerminateInstances", INSTANCE, OURS),
    ("ssm:GetParameter", PARAMETER, {}),
    ("iam:PassRole", HOST, {}),
    ("iam:PutRolePolicy", PIPELINE, {}),
    ("sts:AssumeRole", HOST, {}),
]

OPERATORS_MAY: list[Case] = [
    ("iam:EnableMFADevice", "arn:aws:iam::" + ACCOUNT + ":user/${aws:username}", MFA),
    ("iam:CreateVirtualMFADevice", f"arn:aws:iam::{ACCOUNT}:mfa/phone", MFA),
    ("iam:ChangePassword", "arn:aws:iam::" + ACCOUNT + ":user/${aws:username}", NO_MFA),
    ("ec2:RunInstances", INSTANCE, MADE | SMALL | MFA),
    ("ec2:RunInstances", f"arn:aws:ec2:{REGION}::image/ami-1", {"ec2__Owner": "136693071363"} | MFA),
    ("ec2:RunInstances", f"{EC2}:subnet/subnet-1", OURS | MFA),
    ("ec2:CreateVolume", f"{EC2}:volume/*", MADE | MFA),
    ("ec2:AssociateAddress", f"{EC2}:elastic-ip/eipalloc-1", OURS | MFA),
    ("ec2:ModifyInstanceAttribute", INSTANCE, OURS | {"ec2__Attribute___InstanceType": "t3.large"} | MFA),
    ("cloudwatch:PutMetricAlarm", ALARM, {"cloudwatch__AlarmActions": f"arn:aws:automate:{REGION}:ec2:recover"} | MFA),
    ("ec2:TerminateInstances", INSTANCE, OURS | MFA),
    ("ec2:CreateTags", INSTANCE, {"ec2__CreateAction": "RunInstances"} | MADE | MFA),
    ("ecr:PutImage", REPOSITORY, MFA),
    ("s3:PutObject", f"{STATE}/host/terraform.tfstate", MFA),
    ("s3:PutObject", f"{STATE}/host/terraform.tfstate.tflock", MFA),
    ("s3:PutBucketVersioning", BACKUPS, MFA),
    ("ssm:PutParameter", PARAMETER, MFA),
    ("iam:CreateRole", HOST, {"iam__PermissionsBoundary": BOUNDARY} | MFA),
    ("iam:PutRolePolicy", HOST, {"iam__PermissionsBoundary": BOUNDARY} | MFA),
    ("iam:PassRole", HOST, {"iam__PassedToService": "ec2.amazonaws.com"} | MFA),
]
OPERATORS_MAY_NOT: list[Case] = [
    # Without MFA: with a password alone, and with a long-lived key, whose requests do not mention MFA.
    ("ec2:RunInstances", INSTANCE, MADE | SMALL | NO_MFA),
    ("ec2:RunInstances", INSTANCE, MADE | SMALL),
    ("iam:CreateVirtualMFADevice", f"arn:aws:iam::{ACCOUNT}:mfa/second", {}),
    ("iam:CreateVirtualMFADevice", f"arn:aws:iam::{ACCOUNT}:mfa/second", NO_MFA),
    ("iam:EnableMFADevice", "arn:aws:iam::" + ACCOUNT + ":user/${aws:username}", {}),
    ("iam:EnableMFADevice", "arn:aws:iam::" + ACCOUNT + ":user/${aws:username}", NO_MFA),
    ("ec2:TerminateInstances", INSTANCE, OURS),
    ("s3:GetObject", f"{STATE}/host/terraform.tfstate", {}),
    ("ssm:GetParameter", PARAMETER, NO_MFA),
    ("iam:CreateAccessKey", "arn:aws:iam::" + ACCOUNT + ":user/${aws:username}", {}),
    ("iam:DeactivateMFADevice", "arn:aws:iam::" + ACCOUNT + ":user/${aws:username}", NO_MFA),
    # Other people's things.
    ("ec2:AuthorizeSecurityGroupIngress", GROUP, {"aws__ResourceTag___Project": "other"} | MFA),
    ("ec2:TerminateInstances", INSTANCE, {"aws__ResourceTag___Project": "other"} | MFA),
    ("ec2:TerminateInstances", INSTANCE, MFA),
    ("ec2:CreateTags", INSTANCE, {"aws__RequestTag___Project": "comentarios"} | MFA),
    ("ec2:RunInstances", INSTANCE.replace(REGION, "eu-west-1"), MADE | SMALL | MFA),
    # Tag somebody's group as ours and then open it.
    ("ec2:CreateTags", GROUP, MADE | MFA),
    ("ec2:CreateTags", GROUP, MADE | {"aws__ResourceTag___Project": "other"} | MFA),
    ("ec2:RevokeSecurityGroupIngress", GROUP, MFA),
    # Move somebody's address, or ours to somebody's instance.
    ("ec2:AssociateAddress", f"{EC2}:elastic-ip/eipalloc-1", MFA),
    ("ec2:AssociateAddress", INSTANCE, {"aws__ResourceTag___Project": "other"} | MFA),
    ("ec2:DisassociateAddress", f"{EC2}:elastic-ip/eipalloc-1", {"aws__ResourceTag___Project": "other"} | MFA),
    # Read a snapshot by a volume of it, or by an instance's disk.
    ("ec2:CreateVolume", f"{EC2}:volume/*", MADE | {"ec2__ParentSnapshot": f"{EC2}:snapshot/snap-1"} | MFA),
    ("ec2:RunInstances", f"{EC2}:snapshot/snap-1", MFA),
    # Another size, image, network, key.
    ("ec2:RunInstances", INSTANCE, MADE | {"ec2__InstanceType": "p5.48xlarge"} | MFA),
    ("ec2:RunInstances", INSTANCE, SMALL | MFA),
    ("ec2:ModifyInstanceAttribute", INSTANCE, OURS | {"ec2__Attribute___InstanceType": "p5.48xlarge"} | MFA),
    ("ec2:RunInstances", f"arn:aws:ec2:{REGION}::image/ami-1", {"ec2__Owner": "999999999999"} | MFA),
    ("ec2:RunInstances", f"{EC2}:subnet/subnet-1", {"aws__ResourceTag___Project": "other"} | MFA),
    ("ec2:RunInstances", GROUP, MFA),
    ("ec2:RunInstances", f"{EC2}:key-pair/other", MFA),
    ("ec2:CreateSubnet", f"{EC2}:vpc/vpc-1", {"aws__ResourceTag___Project": "other"} | MFA),
    # End or stop an instance by an alarm, or send one elsewhere.
    (
        "cloudwatch:PutMetricAlarm",
        ALARM,
        {"cloudwatch__AlarmActions": f"arn:aws:automate:{REGION}:ec2:terminate"} | MFA,
    ),
    ("cloudwatch:PutMetricAlarm", ALARM, {"cloudwatch__AlarmActions": f"arn:aws:automate:{REGION}:ec2:stop"} | MFA),
    ("cloudwatch:PutMetricAlarm", ALARM, {"cloudwatch__AlarmActions": f"arn:aws:sns:{REGION}:{ACCOUNT}:other"} | MFA),
    ("ecr:PutImage", OTHER_REPOSITORY, MFA),
    ("s3:GetObject", "arn:aws:s3:::other/secret", MFA),
    ("ssm:GetParameter", OTHER_PARAMETER, MFA),
    ("cloudwatch:DeleteAlarms", f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:other", MFA),
    # What bootstrap made.
    ("s3:PutObject", f"{STATE}/bootstrap/terraform.tfstate", MFA),
    ("s3:DeleteBucket", STATE, MFA),
    ("s3:PutBucketPolicy", STATE, MFA),
    ("ecr:DeleteRepository", REPOSITORY, MFA),
    ("ecr:PutImageTagMutability", REPOSITORY, MFA),
    # Rights beyond their own.
    ("iam:CreateRole", HOST, MFA),
    ("iam:CreateRole", HOST, {"iam__PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"} | MFA),
    ("iam:PutRolePolicy", HOST, MFA),
    ("iam:DeleteRolePermissionsBoundary", HOST, {"iam__PermissionsBoundary": BOUNDARY} | MFA),
    ("iam:PutRolePermissionsBoundary", HOST, {"iam__PermissionsBoundary": BOUNDARY} | MFA),
    ("iam:AttachRolePolicy", HOST, {"iam__PermissionsBoundary": BOUNDARY} | MFA),
    ("iam:UpdateAssumeRolePolicy", HOST, MFA),
    ("iam:PutRolePolicy", PIPELINE, {"iam__PermissionsBoundary": BOUNDARY} | MFA),
    ("iam:UpdateAssumeRolePolicy", PIPELINE, MFA),
    ("iam:CreatePolicyVersion", BOUNDARY, MFA),
    ("iam:PassRole", HOST, {"iam__PassedToService": "lambda.amazonaws.com"} | MFA),
    ("iam:PassRole", PIPELINE, {"iam__PassedToService": "ec2.amazonaws.com"} | MFA),
    ("iam:CreateUser", USER, MFA),
    ("iam:AddUserToGroup", f"arn:aws:iam::{ACCOUNT}:group/comentarios-operators", MFA),
    ("iam:CreateAccessKey", USER, MFA),
    ("sts:AssumeRole", PIPELINE, MFA),
]


def _documents(life: Life, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [life.policies[name] for name in names]


@pytest.mark.parametrize(("action", "resource", "context"), HOST_MAY)
def test_host_may(life: Life, action: str, resource: str, context: dict[str, str]) -> None:
    assert allows([life.policies["comentarios-host"]], action, resource, **context)
    # The boundary must not take away what the host needs.
    assert allows([life.policies["comentarios-host-boundary"]], action, resource, **context)


@pytest.mark.parametrize(("action", "resource", "context"), HOST_MAY_NOT)
def test_host_may_not(life: Life, action: str, resource: str, context: dict[str, str]) -> None:
    assert not allows([life.policies["comentarios-host"]], action, resource, **context)


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("ecr:PutImage", REPOSITORY),
        ("s3:GetObject", f"{STATE}/host/terraform.tfstate"),
        ("s3:DeleteObject", f"{BACKUPS}/database/2026.db"),
        ("ssm:GetParameter", OTHER_PARAMETER),
        ("iam:CreateUser", USER),
        ("ec2:RunInstances", INSTANCE),
        ("sts:AssumeRole", PIPELINE),
    ],
)
def test_no_policy_gets_a_host_beyond_its_boundary(life: Life, action: str, resource: str) -> None:
    assert life.boundaries["comentarios-host"] == BOUNDARY
    assert not allows([life.policies["comentarios-host-boundary"]], action, resource)


@pytest.mark.parametrize(("action", "resource", "context"), PIPELINE_MAY)
def test_pipeline_may(life: Life, action: str, resource: str, context: dict[str, str]) -> None:
    assert allows([life.policies["comentarios-pipeline"]], action, resource, **context)


@pytest.mark.parametrize(("action", "resource", "context"), PIPELINE_MAY_NOT)
def test_pipeline_may_not(life: Life, action: str, resource: str, context: dict[str, str]) -> None:
    assert not allows([life.policies["comentarios-pipeline"]], action, resource, **context)


@pytest.mark.parametrize(("action", "resource", "context"), OPERATORS_MAY)
def test_operators_may(life: Life, action: str, resource: str, context: dict[str, str]) -> None:
    assert allows(_documents(life, OPERATORS), action, resource, **context)


@pytest.mark.parametrize(("action", "resource", "context"), OPERATORS_MAY_NOT)
def test_operators_may_not(life: Life, action: str, resource: str, context: dict[str, str]) -> None:
    assert not allows(_documents(life, OPERATORS), action, resource, **context)


@pytest.mark.parametrize(
    ("subject", "audience", "trusted"),
    [
        ("repo:alice/comentarios:ref:refs/heads/main", "sts.amazonaws.com", False),
        ("repo:alice@123456/comentarios@456789:environment:production", "sts.amazonaws.com", False),
        ("repo:alice/comentarios:environment:production", "sts.amazonaws.com", True),
        ("repo:alice/comentarios:ref:refs/heads/other", "sts.amazonaws.com", False),
        ("repo:alice/comentarios:ref:refs/tags/v1", "sts.amazonaws.com", False),
        ("repo:alice/comentarios:pull_request", "sts.amazonaws.com", False),
        ("repo:alice/comentarios-fork:ref:refs/heads/main", "sts.amazonaws.com", False),
        ("repo:mallory/comentarios:ref:refs/heads/main", "sts.amazonaws.com", False),
        ("repo:alice/comentarios:ref:refs/heads/main", "https://github.com/mallory", False),
    ],
)
def test_whom_the_pipelines_role_trusts(life: Life, subject: str, audience: str, trusted: bool) -> None:
    trust = life.trusts["comentarios-pipeline"]
    (statement,) = trust["Statement"]
    provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com"
    assert statement["Principal"] == {"Federated": provider}
    token = {
        "token.actions.githubusercontent.com__sub": subject,
        "token.actions.githubusercontent.com__aud": audience,
    }
    assert allows([trust], "sts:AssumeRoleWithWebIdentity", **token) is trusted
    assert not allows([trust], "sts:AssumeRole", **token)


def test_only_ec2_may_take_the_hosts_role(life: Life) -> None:
    (statement,) = life.trusts["comentarios-host"]["Statement"]
    assert statement["Principal"] == {"Service": "ec2.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"


@pytest.mark.parametrize("bucket", [BUCKET, BACKUP])
@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"])
def test_buckets_refuse_what_comes_without_tls(life: Life, bucket: str, action: str) -> None:
    (statement,) = life.buckets[bucket]["policy"]["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Principal"] == "*"
    key = f"arn:aws:s3:::{bucket}/key"
    everybody = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    documents = [everybody, {"Statement": [statement]}]
    assert allows(documents, action, key, aws__SecureTransport="true")
    assert not allows(documents, action, key, aws__SecureTransport="false")


@pytest.mark.parametrize("name", [*OPERATORS, "comentarios-host-boundary"])
def test_policies_fit_in_what_iam_takes(life: Life, name: str) -> None:
    """IAM takes 6,144 characters, white space aside; moto takes any number."""
    assert len(re.sub(r"\s", "", json.dumps(life.policies[name]))) <= 6144


@pytest.mark.parametrize("action", ["*", "iam:*", "ec2:*", "s3:Get*", "ecr:*"])
def test_no_policy_gives_a_whole_service_on_everything(life: Life, action: str) -> None:
    wide = [
        name
        for name, document in life.policies.items()
        for statement in document["Statement"]
        if statement["Effect"] == "Allow" and statement["Resource"] == "*"
        if action in (statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]])
    ]
    assert wide == []
