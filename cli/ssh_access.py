"""``make ssh-open`` and ``make ssh-close``: open port 22 to this machine for the length of a pipeline's job.

Only the security group that Terraform tagged for this is changed: the pipeline's role may change no other.
"""

import ipaddress
import urllib.request
from typing import Any

from botocore.exceptions import ClientError

from cli.targets import Target
from cli.terraform import client
from common.errors import CommandError
from common.progress import say

# Only rules with this description are ever revoked; the administrators' own rules stay.
DESCRIPTION = "pipeline"
WHERE_AM_I = "https://checkip.amazonaws.com"


def ssh_open(target: Target, address: str) -> None:
    """Opens SSH to this machine and revokes leftovers of crashed jobs.

    Raises:
        CommandError: this machine's address is unknown, there is no group, or AWS refuses.
    """
    address = own_address(address)
    ssh_close(target)
    for group in groups(target):
        _change(target, "authorize_security_group_ingress", group["GroupId"], [_rule(address)])
    say(f"▸ port 22 is open to {address} until `make ssh-close`")


def ssh_close(target: Target) -> None:
    """Revokes every rule that ``ssh_open`` made.

    Raises:
        CommandError: there is no group, or AWS refuses.
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
    """The security groups with the tags."""
    tags = {"Project": target.names.name, "SshAccess": "pipeline"}
    filters = [{"Name": f"tag:{name}", "Values": [value]} for name, value in tags.items()]
    found: list[dict[str, Any]] = client(target, "ec2").describe_security_groups(Filters=filters)["SecurityGroups"]
    if not found:
        wanted = " and ".join(f"{name}={value}" for name, value in tags.items())
        raise CommandError(f"no security group has the tags {wanted}: run `make up`")
    return found


def own_address(text: str) -> str:
    """The given address, or the one that AWS sees.

    Raises:
        CommandError: it is unknown or not an IPv4 address.
    """
    if not text:
        try:
            with urllib.request.urlopen(WHERE_AM_I, timeout=10) as reply:
                return str(ipaddress.IPv4Address(reply.read(100).decode().strip()))
        except (OSError, ValueError) as error:
            raise CommandError(
                f"{WHERE_AM_I} does not return this machine's address ({error}): give it as ADDRESS=…"
            ) from None
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise CommandError(f"ADDRESS={text} is not an IPv4 address") from None


def _rule(address: str) -> dict[str, Any]:
    span = {"CidrIp": f"{address}/32", "Description": DESCRIPTION}
    return {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [span]}


def _change(target: Target, call: str, group: str, rules: list[dict[str, Any]]) -> None:
    try:
        getattr(client(target, "ec2"), call)(GroupId=group, IpPermissions=rules)
    except ClientError as error:
        # An administrator's rule already allows the same address.
        if error.response["Error"]["Code"] != "InvalidPermission.Duplicate":
            raise CommandError(f"AWS refuses to change security group {group}: {error}") from None
