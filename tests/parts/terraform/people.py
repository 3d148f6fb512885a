"""What others than Terraform ask of AWS's APIs in a whole life, by the project's own code: run as `people.py <who>`.

In a process of its own: the verbs set the environment that they run in.
"""

from __future__ import annotations

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
PASSWORD = "/comentarios/grafana/admin_password"


def operator() -> None:
    """`make up`, `make images`, `make status` besides Terraform; role parameters on the controller."""
    from cli import host, image, settings, targets, terraform

    target = targets.target()
    settings.apply(target)
    terraform._bucket_exists(target, terraform.bucket_name(target))
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
    from cli import drill, host, targets

    target = targets.target()
    drill._lose(target, host.chosen(target))


def pipeline() -> None:
    """.github/workflows/release.yml: `make image`, `make ssh-open`, `make release`, `make ssh-close`."""
    from cli import host, ssh_access, targets, terraform

    target = targets.target()
    terraform.ensure_up(target)
    _images(target)
    ssh_access.open_(target, ADDRESS)
    assert host.hosts(target)
    ssh_access.close(target)


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
    boto3.client("ecr").get_authorization_token()
    pages = boto3.client("ssm").get_paginator("get_parameters_by_path")
    list(pages.paginate(Path="/comentarios", Recursive=True, WithDecryption=True))


def _images(target: Target) -> None:
    """What `make image` asks of ECR besides what docker asks of the registry."""
    from cli import image
    from cli.terraform import client

    assert not image.in_ecr(target, TAG)
    ecr = client(target, "ecr")
    ecr.describe_repositories(repositoryNames=[image.REPOSITORY])
    ecr.get_authorization_token()


if __name__ == "__main__":
    {"operator": operator, "drill": drill_, "pipeline": pipeline, "host": host_}[sys.argv[1]]()
