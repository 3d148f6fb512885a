"""Instances and volumes as the EC2 API lists them. Hosts are created from nothing else."""

import base64
from dataclasses import dataclass
from typing import Any

from common.aws import client as client
from common.config import Config

GONE = {"shutting-down", "terminated"}


@dataclass(frozen=True)
class Instance:
    """An instance that is not terminated. The functions below request the details of what it refers to.

    Attributes:
        profile: name of its instance profile, or empty.
        key: name of its key pair, or empty.
        volumes: ids of the attached volumes, without the root volume.
    """

    id: str
    type: str
    image: str
    state: str
    private_ip: str
    zone: str
    profile: str = ""
    key: str = ""
    volumes: tuple[str, ...] = ()
    hop_limit: int = 1
    architecture: str = "x86_64"

    @property
    def region(self) -> str:
        return self.zone[:-1]

    @property
    def hostname(self) -> str:
        return "ip-" + self.private_ip.replace(".", "-")


def regions(config: Config) -> list[str]:
    """The regions that are in use."""
    return [region["RegionName"] for region in client(config, "ec2").describe_regions()["Regions"]]


def instances(config: Config, address: str = "") -> list[Instance]:
    """Every instance that is not terminated, in each region the oldest first, or those with a private address."""
    result = []
    for region in regions(config):
        found = [one for one in _listed(client(config, "ec2", region), address) if one["State"]["Name"] not in GONE]
        result += [_instance(one) for one in sorted(found, key=lambda one: (one["LaunchTime"], one["InstanceId"]))]
    return result


def _instance(described: dict[str, Any]) -> Instance:
    mappings = described.get("BlockDeviceMappings", [])
    root = described.get("RootDeviceName", "/dev/xvda")
    return Instance(
        id=described["InstanceId"],
        type=described["InstanceType"],
        image=described["ImageId"],
        state=described["State"]["Name"],
        private_ip=described["PrivateIpAddress"],
        zone=described["Placement"]["AvailabilityZone"],
        profile=described.get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2],
        key=described.get("KeyName", ""),
        volumes=tuple(one["Ebs"]["VolumeId"] for one in mappings if one["DeviceName"] != root),
        hop_limit=described.get("MetadataOptions", {}).get("HttpPutResponseHopLimit", 1),
        architecture=described["Architecture"],
    )


def size(config: Config, instance: Instance) -> tuple[int, int]:
    """The memory of an instance's type in MiB, and its number of CPUs."""
    ec2 = client(config, "ec2", instance.region)
    (kind,) = ec2.describe_instance_types(InstanceTypes=[instance.type])["InstanceTypes"]
    return kind["MemoryInfo"]["SizeInMiB"], kind["VCpuInfo"]["DefaultVCpus"]


def public_key(config: Config, instance: Instance) -> str:
    """The public key of an instance's key pair, or empty text."""
    filters = [{"Name": "key-name", "Values": [instance.key]}]
    ec2 = client(config, "ec2", instance.region)
    pairs = ec2.describe_key_pairs(Filters=filters, IncludePublicKey=True)["KeyPairs"] if instance.key else []
    return "".join(pair.get("PublicKey", "").strip() for pair in pairs)


def volumes(config: Config, instance: Instance) -> list[tuple[str, int]]:
    """The attached volumes of an instance that still exist, with their size in GiB."""
    if not instance.volumes:
        return []
    filters = [{"Name": "volume-id", "Values": list(instance.volumes)}]
    found = client(config, "ec2", instance.region).describe_volumes(Filters=filters)["Volumes"]
    sizes = {one["VolumeId"]: one["Size"] for one in found}
    return [(one, sizes[one]) for one in instance.volumes if one in sizes]


def terminated(config: Config) -> set[str]:
    """The instances that are terminated or shutting down."""
    everywhere = [one for region in regions(config) for one in _listed(client(config, "ec2", region))]
    return {one["InstanceId"] for one in everywhere if one["State"]["Name"] in GONE}


def _listed(ec2: Any, address: str = "") -> list[dict[str, Any]]:
    filters = [{"Name": "private-ip-address", "Values": [address]}] if address else []
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    return [one for page in pages for reservation in page["Reservations"] for one in reservation["Instances"]]


def user_data(config: Config, instance: Instance) -> str:
    """The instance's decoded user data, or empty text."""
    ec2 = client(config, "ec2", instance.region)
    attribute = ec2.describe_instance_attribute(InstanceId=instance.id, Attribute="userData")
    return base64.b64decode(attribute.get("UserData", {}).get("Value", "")).decode()


def role(config: Config, instance: Instance) -> str:
    """The name of an instance's role, or empty text."""
    if not instance.profile:
        return ""
    iam = client(config, "iam")
    roles = iam.get_instance_profile(InstanceProfileName=instance.profile)["InstanceProfile"]["Roles"]
    return roles[0]["RoleName"] if roles else ""
