"""Both buckets, with their lifecycle rules.

Beside the life, since the provider waits 55 s for S3 to agree with itself on such rules, and nothing can shorten that.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.parts.terraform.emulator import Emulator
from tests.parts.terraform.full_cycle import BACKUP, BUCKET, LOCAL_BACKEND, VARIABLES
from tests.parts.terraform.workspace import Workspace


@dataclass(frozen=True)
class Buckets:
    """What was seen.

    Attributes:
        settings: each bucket's, as S3 has them.
        plans: each folder's after its apply, status and output.
        parked_rules: the backups' lifecycle rules as they would be with `parked`.
    """

    settings: dict[str, dict[str, Any]]
    plans: dict[str, tuple[int, str]]
    parked_rules: list[dict[str, Any]]


def make(workspace: Workspace, emulator: Emulator) -> Buckets:
    """Applies the two modules side by side and reads what S3 has.

    Raises:
        AssertionError: a Terraform command failed that must not.
    """
    workspace.environment |= VARIABLES
    folders = {workspace.host: "module.backup", workspace.bootstrap: "module.state"}

    def apply(folder: Path) -> tuple[int, str]:
        (folder / "backend_override.tf").write_text(LOCAL_BACKEND)
        workspace.run(folder, "init")
        workspace.run(folder, "apply", "-auto-approve", f"-target={folders[folder]}")
        return workspace.finish(workspace.start(folder, "plan", "-detailed-exitcode", f"-target={folders[folder]}"))

    with ThreadPoolExecutor() as pool:
        plans = dict(zip(("host", "bootstrap"), pool.map(apply, folders), strict=True))
    s3 = emulator.client("s3")
    settings = {
        bucket: {
            "versioning": s3.get_bucket_versioning(Bucket=bucket)["Status"],
            "encryption": s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"],
            "public_access": s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
            "policy": json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]),
            "lifecycle": s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"],
        }
        for bucket in (BUCKET, BACKUP)
    }
    return Buckets(settings, plans, _parked_rules(workspace))


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
