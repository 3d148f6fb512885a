"""Who may log in to the hosts, and from where. Each operator has an entry in SSM Parameter Store.

`make up` writes the caller's own entry, from the settings, and gives Terraform and role base everybody's. So one
operator's settings remove nobody else's key or address.
"""

import json
import re
from collections.abc import Callable
from typing import Any

from cli.targets import Target
from common import files

# `<name>/key` has a line for each key, `<name>/cidrs` is separated by commas.
FOLDER = "people"


def join(target: Target, own: dict[str, Any], client: Callable[[Target, str], Any]) -> None:
    """Writes the caller's entry if it has changed, and stores everybody's for `merged`.

    Args:
        own: the caller's Terraform variables.
        client: returns the client of an AWS service.
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
    """The caller's Terraform variables with everybody's keys and addresses, as `join` last stored them."""
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
    """The name of the AWS identity, without characters that a parameter's name may not have."""
    *_, role, session = ["", *arn.rpartition(":")[2].split("/")]
    # A session's name with a number is a tool's, not a person's: the role is used instead.
    name = role if re.search(r"\d{6}", session) else session
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)
