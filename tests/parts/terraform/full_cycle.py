"""Creates everything in an empty account and destroys it again; the tests use what it observed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.parts.terraform.emulator import ENVIRONMENT, HOST_KEY, OPERATOR_KEY, PIPELINE_KEY, ROOT, Emulator
from tests.parts.terraform.workspace import PUBLIC_KEY, Workspace

PEOPLE = Path(__file__).with_name("people.py")
PYTHONPATH = ":".join(str(ROOT / folder) for folder in ("", "roles/backup/files", "library"))
BUCKET = "comentarios-123456789012-us-east-1-state"
BACKUP = "comentarios-123456789012-us-east-1-backup"
LOCK = "host/terraform.tfstate.tflock"
VARIABLES = {
    "TF_VAR_admin_cidrs": '["203.0.113.7/32"]',
    "TF_VAR_ssh_public_key": PUBLIC_KEY,
    "TF_VAR_github_repository": "alice/comentarios",
    "TF_VAR_delete_contents": "true",
}
LOCAL_BACKEND = 'terraform {\n  backend "local" {}\n}\n'
REMOTE = ("init", f"-backend-config=bucket={BUCKET}")


@dataclass
class Life:
    """What one life showed; every field is filled in by `live`.

    Attributes:
        buckets: the settings of each, as S3 has them.
        parked_rules: the backups' lifecycle rules as they would be with `parked`.
    """

    before: set[str] = field(default_factory=set)
    after: set[str] = field(default_factory=set)
    up: set[str] = field(default_factory=set)
    second_apply: tuple[int, str] = (0, "")
    plans: dict[str, tuple[int, str]] = field(default_factory=dict)
    objects: set[str] = field(default_factory=set)
    lock_left: bool = True
    unencrypted: list[str] = field(default_factory=list)
    states: str = ""
    state_before_moving: dict[str, Any] = field(default_factory=dict)
    state_after_moving: dict[str, Any] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    trusts: dict[str, dict[str, Any]] = field(default_factory=dict)
    boundaries: dict[str, str] = field(default_factory=dict)
    buckets: dict[str, dict[str, Any]] = field(default_factory=dict)
    parked_rules: list[dict[str, Any]] = field(default_factory=list)
    refused_destroy: tuple[int, str] = (0, "")
    up_after_refusal: set[str] = field(default_factory=set)
    log: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)


def live(workspace: Workspace, emulator: Emulator) -> Life:
    """Bootstrap and host from nothing to nothing.

    Raises:
        AssertionError: a Terraform command failed that must not.
    """
    life = Life(before=emulator.inventory())
    workspace.environment |= VARIABLES
    workspace.keys[workspace.host] = OPERATOR_KEY
    _bootstrap(workspace, emulator, life)
    _host(workspace, emulator, life)
    _others(emulator)
    _look(emulator, life)
    _destroy(workspace, emulator, life)
    life.after = emulator.inventory()
    life.log = workspace.log
    life.requests = emulator.requests()
    return life


def _bootstrap(workspace: Workspace, emulator: Emulator, life: Life) -> None:
    override = workspace.bootstrap / "backend_override.tf"
    override.write_text(LOCAL_BACKEND)
    workspace.run(workspace.bootstrap, "init")
    workspace.run(workspace.bootstrap, "apply", "-auto-approve")
    override.unlink()
    workspace.run(workspace.bootstrap, *REMOTE, "-migrate-state", "-force-copy")
    local = workspace.bootstrap / "terraform.tfstate"
    life.state_before_moving = json.loads(local.read_text())
    for left in workspace.bootstrap.glob("terraform.tfstate*"):
        left.unlink()
    moved = emulator.client("s3").get_object(Bucket=BUCKET, Key="bootstrap/terraform.tfstate")
    life.state_after_moving = json.load(moved["Body"])
    life.plans["bootstrap"] = _plan(workspace, workspace.bootstrap)


def _host(workspace: Workspace, emulator: Emulator, life: Life) -> None:
    workspace.run(workspace.host, *REMOTE)
    first = workspace.start(workspace.host, "apply", "-auto-approve")
    _wait_for(emulator, LOCK)
    life.second_apply = workspace.finish(workspace.start(workspace.host, "apply", "-auto-approve"))
    status, output = workspace.finish(first)
    assert status == 0, output
    life.plans["host"] = _plan(workspace, workspace.host)
    life.parked_rules = _parked_rules(workspace)


def _parked_rules(workspace: Workspace) -> list[dict[str, Any]]:
    file = workspace.host / "parked.plan"
    plan = ("plan", "-refresh=false", "-target=module.backup", "-var=parked=true")
    workspace.run(workspace.host, *plan, f"-out={file}")
    planned = json.loads(workspace.run(workspace.host, "show", "-json", str(file)))
    resources = planned["planned_values"]["root_module"]["child_modules"][0]["resources"]
    found: list[list[dict[str, Any]]] = [
        one["values"]["rule"] for one in resources if one["type"] == "aws_s3_bucket_lifecycle_configuration"
    ]
    (rules,) = found
    return rules


def _look(emulator: Emulator, life: Life) -> None:
    life.up = emulator.inventory()
    s3 = emulator.client("s3")
    for version in s3.list_object_versions(Bucket=BUCKET)["Versions"]:
        which = {"Bucket": BUCKET, "Key": version["Key"], "VersionId": version["VersionId"]}
        found = s3.get_object(**which)
        life.states += found["Body"].read().decode()
        if found.get("ServerSideEncryption") != "AES256":
            life.unencrypted.append(version["Key"])
    life.objects = {entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    life.lock_left = LOCK in life.objects
    life.buckets = {name: _settings(s3, name) for name in (BUCKET, BACKUP)}
    _read_policies(emulator.client("iam"), life)


def _settings(s3: Any, bucket: str) -> dict[str, Any]:
    return {
        "versioning": s3.get_bucket_versioning(Bucket=bucket)["Status"],
        "encryption": s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"],
        "public_access": s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
        "policy": json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]),
        "lifecycle": s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"],
    }


def _read_policies(iam: Any, life: Life) -> None:
    for role in iam.list_roles()["Roles"]:
        name = role["RoleName"]
        life.trusts[name] = role["AssumeRolePolicyDocument"]
        boundary = iam.get_role(RoleName=name)["Role"].get("PermissionsBoundary", {})
        life.boundaries[name] = boundary.get("PermissionsBoundaryArn", "")
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            life.policies[policy] = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    for policy in iam.list_policies(Scope="Local")["Policies"]:
        version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])
        life.policies[policy["PolicyName"]] = version["PolicyVersion"]["Document"]


def _others(emulator: Emulator) -> None:
    """What is asked of AWS by others than Terraform."""
    for who, key in {"operator": OPERATOR_KEY, "pipeline": PIPELINE_KEY, "host": HOST_KEY}.items():
        _ask(emulator, who, key)


def _ask(emulator: Emulator, who: str, key: str) -> None:
    ours = {name: value for name, value in ENVIRONMENT.items() if not name.startswith(("AWS_", "TF_", "ANSIBLE_"))}
    path = f"{ROOT / '.venv' / 'bin'}:{ours['PATH']}"
    done = subprocess.run(
        [sys.executable, PEOPLE, who],
        env=ours | emulator.environment(key) | {"TARGET": "aws", "PATH": path, "PYTHONPATH": PYTHONPATH},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{who}:\n{done.stdout}{done.stderr}"


def _destroy(workspace: Workspace, emulator: Emulator, life: Life) -> None:
    s3 = emulator.client("s3")
    s3.put_object(Bucket=BACKUP, Key="database/comments.db", Body=b"a backup")
    life.refused_destroy = workspace.finish(workspace.start(workspace.host, "destroy", "-auto-approve"))
    life.up_after_refusal = emulator.inventory()
    # The host is lost, and the next apply makes it anew.
    _ask(emulator, "drill", OPERATOR_KEY)
    workspace.run(workspace.host, "apply", "-auto-approve", "-var=delete_data=true")
    workspace.run(workspace.host, "destroy", "-auto-approve", "-var=delete_data=true")
    # The password and who may log in are no part of Terraform's.
    ssm = emulator.client("ssm", OPERATOR_KEY)
    for one in ssm.get_parameters_by_path(Path="/comentarios", Recursive=True)["Parameters"]:
        ssm.delete_parameter(Name=one["Name"])
    # The bucket cannot be destroyed by a state that lies in it.
    override = workspace.bootstrap / "backend_override.tf"
    override.write_text(LOCAL_BACKEND)
    workspace.run(workspace.bootstrap, "init", "-migrate-state", "-force-copy")
    # The lock's delete markers, which moto fails at once Terraform has suspended the bucket's versioning.
    for kind in ("DeleteMarkers", "Versions"):
        for found in s3.list_object_versions(Bucket=BUCKET).get(kind, []):
            s3.delete_object(Bucket=BUCKET, Key=found["Key"], VersionId=found["VersionId"])
    workspace.run(workspace.bootstrap, "destroy", "-auto-approve")
    override.unlink()


def _plan(workspace: Workspace, folder: Any) -> tuple[int, str]:
    return workspace.finish(workspace.start(folder, "plan", "-detailed-exitcode"))


def _wait_for(emulator: Emulator, key: str) -> None:
    s3 = emulator.client("s3")
    deadline = time.monotonic() + 60
    while not s3.list_objects_v2(Bucket=BUCKET, Prefix=key).get("Contents"):
        assert time.monotonic() < deadline, f"s3://{BUCKET}/{key} did not appear"
        time.sleep(0.1)
