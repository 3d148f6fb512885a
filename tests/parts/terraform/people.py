"""The requests of the project's own code to AWS's APIs in a full cycle: run as `people.py <who>`.

In a process of its own: the verbs set the environment that they run in.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[3]

if TYPE_CHECKING:
    from cli.targets import Target

TAG = "0123456789ab"
ADDRESS = "203.0.113.99"
FOLDER = tempfile.TemporaryDirectory(prefix="people-")
PASSWORD = "/comentarios/grafana/admin_password"


def operator() -> None:
    """`make up`, `make images`, `make status` besides Terraform; role parameters on the controller."""
    from cli import host, image, people, settings, terraform

    target = _target()
    settings.apply(target)
    for key in ("ssh-ed25519 AAAA one", "ssh-ed25519 AAAA two"):
        people.join(target, {"ssh_public_key": key, "admin_cidrs": []}, terraform.client)
    terraform.bucket_exists(target, terraform.bucket_name(target))
    _images(target)
    image.listing(target)
    assert host.hosts(target)
    # As role parameters does: a password where there is none.
    made = "type=String overwrite_value=never description=x"
    for _ in range(2):
        arguments = f"name={PASSWORD} string_type=SecureString value=random {made.split(' ', 1)[1]}"
        subprocess.run(["ansible", "localhost", "-m", "community.aws.ssm_parameter", "-a", arguments], check=True)


def drill_() -> None:
    """`make drill`: the host and its volume are lost; `make up` follows."""
    from cli import drill, host

    target = _target()
    drill._lose(target, host.chosen(target))


def pipeline() -> None:
    """.github/workflows/release.yml: `make image`, `make ssh-open`, `make release`, `make ssh-close`."""
    from cli import host, ssh_access, terraform

    target = _target()
    terraform.ensure_up(target)
    _images(target)
    ssh_access.ssh_open(target, ADDRESS)
    assert host.hosts(target)
    ssh_access.ssh_close(target)


def host_() -> None:
    """A backup, the list of them and a restore's download; the parameters; ECR's credential helper."""
    import boto3
    from comentarios_backup.settings import Settings
    from comentarios_backup.store import Store

    account, region = boto3.client("sts").get_caller_identity()["Account"], os.environ["AWS_REGION"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(
            bucket=f"comentarios-{account}-{region}-backup",
            prefix="database/",
            logs="logs/comentarios-1.i-0/",
            region=region,
            database_url="",
            sqlite_file=folder / "comments.db",
            work_dir=folder,
            metrics_file=folder / "backup.prom",
        )
        (folder / "copy").write_bytes(b"comments")
        store = Store(settings)
        made = store.put(folder / "copy", folder / "packed", "20261125T000000Z-0000.db", 1, TAG)
        assert store.names() == [made.name]
        store.fetch(made, folder / "packed-again", folder / "fetched")
        with (folder / "packed").open("rb") as body:
            store.send(body, f"{settings.logs}20261125T000000Z-20261125T001500Z.gz")
    boto3.client("ecr").get_authorization_token()
    pages = boto3.client("ssm").get_paginator("get_parameters_by_path")
    list(pages.paginate(Path="/comentarios", Recursive=True, WithDecryption=True))


def _target() -> Target:
    """TARGET=aws, with neither the settings nor the state that this checkout has of it."""
    from cli import settings, targets

    folder = Path(FOLDER.name)
    settings.FOLDER = folder
    return dataclasses.replace(targets.target(), state=folder)


def _images(target: Target) -> None:
    """What `make image` asks of ECR besides what docker asks of the registry."""
    from cli import image
    from cli.terraform import client

    assert not image.in_ecr(target, TAG)
    ecr = client(target, "ecr")
    ecr.describe_repositories(repositoryNames=[target.names.repository])
    ecr.get_authorization_token()


if __name__ == "__main__":
    {"operator": operator, "drill": drill_, "pipeline": pipeline, "host": host_}[sys.argv[1]]()
