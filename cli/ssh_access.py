"""``make ssh-open`` and ``make ssh-close``: port 22 for this machine's address, for the length of the pipeline's job.

In the security group that Terraform tagged for it, and in no other: the pipeline's role may change that one alone.
"""

from __future__ import annotations

import ipaddress
import os
import urllib.error
import urllib.request
from typing import Any

from botocore.exceptions import ClientError

from cli.errors import VerbError
from cli.targets import Target
from cli.terraform import client
from sandbox.progress import say

# Only rules that carry it are ever taken out: the administrators' own stay.
DESCRIPTION = "pipeline"
WHERE_AM_I = "https://checkip.amazonaws.com"


def open_(target: Target) -> None:
    """Lets this machine in, and nobody whom an earlier job that died left in.

    Raises:
        VerbError: the address cannot be found out, there is no group, or AWS refuses.
    """
    address = own_address()
    close(target)
    for group in groups(target):
        _change(target, "authorize_security_group_ingress", group["GroupId"], [_rule(address)])
    say(f"▸ port 22 is open to {address} until `make ssh-close`")


def close(target: Target) -> None:
    """Takes out every rule that ``open_`` ever made.

    Raises:
        VerbError: there is no group, or AWS refuses.
    """
    for group in groups(target):
        rules = [
            _rule(span["CidrIp"].removesuffix("/32"))
            for permission in group["IpPermissions"]
            for span in permission.get("IpRanges", [])
            if span.get("Description") == DESCRIPTION
        ]
        if rules:
            _change(target, "revoke_security_group_ingress", group["GroupId"], rules)


def groups(target: Target) -> list[dict[str, Any]]:
    """The security groups that carry the tag."""
    tags = {"Project": target.names.name, "SshAccess": "pipeline"}
    filters = [{"Name": f"tag:{name}", "Values": [value]} for name, value in tags.items()]
    found: list[dict[str, Any]] = client(target, "ec2").describe_security_groups(Filters=filters)["SecurityGroups"]
    if not found:
        wanted = " and ".join(f"{name}={value}" for name, value in tags.items())
        raise VerbError(f"no security group carries the tags {wanted}: run `make up`")
    return found


def own_address() -> str:
    """The address by which AWS sees this machine; ADDRESS of the environment names another.

    Raises:
        VerbError: it cannot be found out, or ADDRESS is no IPv4 address.
    """
    text = os.environ.get("ADDRESS")
    if not text:
        try:
            with urllib.request.urlopen(WHERE_AM_I, timeout=10) as reply:
                text = reply.read().decode().strip()
        except (OSError, urllib.error.URLError) as error:
            raise VerbError(
                f"{WHERE_AM_I} does not say this machine's address ({error}): give it as ADDRESS=…"
            ) from None
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise VerbError(f"ADDRESS={text} is no IPv4 address") from None


def _rule(address: str) -> dict[str, Any]:
    span = {"CidrIp": f"{address}/32", "Description": DESCRIPTION}
    return {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [span]}


def _change(target: Target, call: str, group: str, rules: list[dict[str, Any]]) -> None:
    try:
        getattr(client(target, "ec2"), call)(GroupId=group, IpPermissions=rules)
    except ClientError as error:
        # The same address stands there as an administrator's: nothing to add.
        if error.response["Error"]["Code"] != "InvalidPermission.Duplicate":
            raise VerbError(f"AWS does not change security group {group}: {error}") from None
