"""Backups on the host: by the timer, by hand, restored, and after the loss of the host."""

from __future__ import annotations

import json
import re
import shlex
import uuid
from typing import Any

import boto3
import pytest
import requests

from common.config import ACCOUNT, REGION, Config
from sandbox import ec2
from tests.parts.terraform.policies import allows
from tests.support import replies
from tests.support.site import Site


@pytest.fixture
def thread() -> str:
    """A thread that nobody has written to: a kept site has the threads of earlier runs."""
    return f"backup-{uuid.uuid4().hex[:12]}"


def _post(up: Site, thread: str, comment: str) -> None:
    replies.post(up.edge, thread, comment)


def _comments(up: Site, thread: str) -> list[str]:
    return replies.comments(up.edge, thread)


def _name_in(output: str) -> str:
    """Name of the backup that `make backup` says it has made."""
    found = re.search(r"(\d{8}T\d{6}Z-\w+\.sqlite\.gz): \d+ comments", output)
    assert found, output
    return found[1]


def _bucket() -> tuple[Any, str]:
    """A client of S3 that may do anything, and the bucket of the backups."""
    s3 = ec2.client(Config(), "s3")
    return s3, next(one["Name"] for one in s3.list_buckets()["Buckets"] if one["Name"].endswith("-backup"))


def test_the_host_makes_backups_by_itself(up: Site) -> None:
    timer = up.ssh("systemctl list-timers comentarios-backup.timer --no-legend").stdout
    assert "comentarios-backup.service" in timer
    started = up.ssh("sudo systemctl start comentarios-backup.service", timeout=120)
    assert started.returncode == 0, up.ssh("journalctl -u comentarios-backup -n 20 --no-pager").stdout
    metrics = up.ssh("cat /var/lib/node_exporter/textfile/backup.prom").stdout
    assert re.search(r"^comentarios_backup_last_success_timestamp_seconds \d+", metrics, re.MULTILINE)


def test_restore_brings_back_what_the_backup_holds(up: Site, thread: str) -> None:
    """What came after the backup is gone from the API, and kept on the host."""
    _post(up, thread, "before")
    made = up.make("backup")
    assert made.returncode == 0, made.stdout
    name = _name_in(made.stdout)
    assert name in up.make("backups").stdout
    _post(up, thread, "after")
    restored = up.make("restore")
    assert restored.returncode == 0, restored.stdout
    assert name in restored.stdout
    assert _comments(up, thread) == ["before"]
    kept = re.findall(r"is kept: (\S+)", restored.stdout)[0]
    query = f"SELECT group_concat(comment) FROM comments WHERE content_id = '{thread}'"
    program = f'import sqlite3; print(sqlite3.connect("{kept}").execute("{query}").fetchone()[0])'
    assert up.ssh(f"sudo python3 -c {shlex.quote(program)}").stdout.strip() == "before,after"
    _post(up, thread, "later")
    assert _comments(up, thread) == ["before", "later"]


def test_keys_of_a_stolen_host(up: Site) -> None:
    """Taken from its metadata: whose they are, and what IAM lets them do to the newest backup and to the images.

    moto keeps the role's policies and does not judge by them: tests/parts/terraform/policies.py does, as IAM would.
    """
    name = _name_in(up.make("backup").stdout)
    _, bucket = _bucket()
    script = """import boto3, json
        keys = boto3.Session().get_credentials().get_frozen_credentials()
        print(json.dumps(list(keys)[:3]))"""
    program = "\n".join(line.strip() for line in script.splitlines())
    access, secret, token = json.loads(up.ssh(f"sudo python3 -c {shlex.quote(program)}").stdout)
    stolen = boto3.Session(access, secret, token, region_name=REGION)
    identity = stolen.client("sts", endpoint_url=Config().endpoint).get_caller_identity()["Arn"]
    role = identity.split("/")[1]
    assert identity.split(":")[5].split("/")[0] == "assumed-role"
    iam = ec2.client(Config(), "iam")
    assert not iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=role, PolicyName=one)["PolicyDocument"] for one in names]
    newest, images = (
        f"arn:aws:s3:::{bucket}/database/{name}",
        f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/comentarios-api",
    )
    assert allows(documents, "s3:GetObject", newest)
    for action, resource in (
        *((action, newest) for action in ("s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion")),
        *((action, newest.split("/")[0]) for action in ("s3:PutLifecycleConfiguration", "s3:PutBucketVersioning")),
        *((action, images) for action in ("ecr:PutImage", "ecr:BatchDeleteImage")),
    ):
        assert not allows(documents, action, resource), action


def test_newest_backup_was_overwritten(up: Site, thread: str) -> None:
    """By somebody who may: the host may not. The version before is named, and restored."""
    _post(up, thread, "kept")
    name = _name_in(up.make("backup").stdout)
    s3, bucket = _bucket()
    s3.put_object(Bucket=bucket, Key=f"database/{name}", Body=b"ransom")
    refused = up.make("restore")
    assert refused.returncode != 0 and f"✗ {name} was not made by this project" in refused.stdout
    older = re.search(r"FROM=(\S+)", refused.stdout)
    assert older and older[1] in up.make("backups").stdout
    _post(up, thread, "gone")
    restored = up.make("restore", FROM=older[1])
    assert restored.returncode == 0, restored.stdout
    assert _comments(up, thread) == ["kept"]
    s3.delete_object(Bucket=bucket, Key=f"database/{name}")


def test_api_that_was_taken_over_plants_links(up: Site, thread: str) -> None:
    """A restore does its work, and root's file is root's still."""
    _post(up, thread, "planted")
    assert up.make("backup").returncode == 0
    script = """umask 077; touch /victim
        docker exec $(docker ps --quiet --filter label=com.docker.compose.service=api | head -1) \\
            ln -s /victim /var/lib/comentarios/restoring.db"""
    planted = up.ssh(f"sudo sh -c {shlex.quote(script)}")
    assert planted.returncode == 0, planted.stderr
    assert up.make("restore").returncode == 0
    assert up.ssh("sudo stat -c '%u %a %s' /victim; sudo rm /victim").stdout == "0 600 0\n"
    assert up.ssh("sudo find /var/lib/comentarios ! -user 10001 ! -name lost+found").stdout == ""
    assert _comments(up, thread) == ["planted"]


def test_restore_refuses_a_foreign_file(up: Site) -> None:
    """One line and a non-zero exit, and the API goes on."""
    s3, bucket = _bucket()
    key = "database/20000101T000000Z-beef.sqlite.gz"
    s3.put_object(Bucket=bucket, Key=key, Body=b"not a backup")
    try:
        done = up.make("restore", FROM=key.partition("/")[2])
    finally:
        s3.delete_object(Bucket=bucket, Key=key)
    assert done.returncode != 0 and "✗ 20000101T000000Z-beef.sqlite.gz was not made by this project" in done.stdout
    missing = up.make("restore", FROM="yesterday")
    assert missing.returncode != 0 and "✗ there is no backup yesterday: `make backups` lists them" in missing.stdout
    assert requests.get(f"{up.edge}/readyz", timeout=10).status_code == 200
