"""Who may log in to the hosts, and from where: each operator's entry in SSM Parameter Store, which all operators share.

`make up` writes the caller's own, from the settings, and gives Terraform and role base everybody's: one operator's
settings take nobody else's key or address away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from cli.targets import Target
from sandbox import files

# As `<name>/key`, a line for each key, and `<name>/cidrs`, with commas.
FOLDER = "people"


def join(target: Target, own: dict[str, Any], client: Callable[[Target, str], Any]) -> None:
    """Writes the caller's entry where it is not there as it is, and keeps everybody's for `merged`.

    Args:
        own: the caller's variables of Terraform.
        client: gives the client of a service of AWS.
    """
    ssm = client(target, "ssm")
    path = target.names.parameter(f"{FOLDER}/{_name(client(target, 'sts').get_caller_identity()['Arn'])}")
    mine = {
        f"{path}/key": "\n".join(_keys(own)),
        f"{path}/cidrs": ",".join(sorted(own.get("admin_cidrs") or [])),
    }
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=target.names.parameter(FOLDER), Recursive=True)
    found = {one["Name"]: one["Value"] for page in pages for one in page["Parameters"]}
    for name, value in mine.items():
        if value and found.get(name) != value:
            ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
        elif not value and name in found:
            ssm.delete_parameter(Name=name)
    everybody = {name: value for name, value in (found | mine).items() if value}
    files.write(target.state / "people.json", json.dumps(everybody, indent=2, sort_keys=True))


def merged(target: Target, own: dict[str, Any]) -> dict[str, Any]:
    """The caller's variables of Terraform with everybody's keys and addresses, as they were last seen."""
    try:
        known = json.loads((target.state / "people.json").read_text())
    except FileNotFoundError:
        return own
    keys = {key for name, value in known.items() if name.endswith("/key") for key in value.splitlines()}
    cidrs = {one for name, value in known.items() if name.endswith("/cidrs") for one in value.split(",")}
    return own | {
        "admin_cidrs": sorted(cidrs | set(own.get("admin_cidrs") or [])),
        "ssh_public_keys": sorted(keys | set(_keys(own))),
    }


def _keys(own: dict[str, Any]) -> list[str]:
    given = [own.get("ssh_public_key") or "", *(own.get("ssh_public_keys") or [])]
    return sorted({key.strip() for key in given if key.strip()})


def _name(arn: str) -> str:
    """The name of who is asking AWS, as a parameter may have it."""
    *_, role, session = ["", *arn.rpartition(":")[2].split("/")]
    # A session that no person named has a number: the role is who asks.
    name = role if re.search(r"\d{6}", session) else session
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)
