"""Instances and volumes as the EC2 API lists them. Hosts are created from nothing else."""

import base64
from dataclasses import dataclass
from typing import Any

from common.aws import client as client
from common.config import Config

GONE = {"shutting-down", "terminated"}


@dataclass(frozen=True)
class Instance:
    """One instance that is not terminated. Memory is in MiB; `volumes` are the attached ones with their size in GiB."""

    id: str
    type: str
    image: str
    state: str
    private_ip: str
    zone: str
    role: str
    public_keys: tuple[str, ...]
    memory: int
    cpus: int
    volumes: tuple[tuple[str, int], ...]
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
    return [one for region in regions(config) for one in _instances(config, client(config, "ec2", region), address)]


def _instances(config: Config, ec2: Any, address: str) -> list[Instance]:
    found = [one for one in _listed(ec2, address) if one["State"]["Name"] not in GONE]
    if not found:
        return []
    sizes = {
        kind["InstanceType"]: kind
        for kind in ec2.describe_instance_types(InstanceTypes=sorted({i["InstanceType"] for i in found}))[
            "InstanceTypes"
        ]
    }
    keys = {
        pair["KeyName"]: pair.get("PublicKey", "") for pair in ec2.describe_key_pairs(IncludePublicKey=True)["KeyPairs"]
    }
    volumes = {volume["VolumeId"]: volume["Size"] for volume in ec2.describe_volumes()["Volumes"]}
    result = []
    for instance in sorted(found, key=lambda i: (i["LaunchTime"], i["InstanceId"])):
        size = sizes[instance["InstanceType"]]
        profile = instance.get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2]
        attached = [
            mapping["Ebs"]["VolumeId"]
            for mapping in instance.get("BlockDeviceMappings", [])
            if mapping["DeviceName"] != instance.get("RootDeviceName", "/dev/xvda")
        ]
        key = keys.get(instance.get("KeyName", ""), "").strip()
        result.append(
            Instance(
                id=instance["InstanceId"],
                type=instance["InstanceType"],
                image=instance["ImageId"],
                state=instance["State"]["Name"],
                private_ip=instance["PrivateIpAddress"],
                zone=instance["Placement"]["AvailabilityZone"],
                role=_role(config, profile) if profile else "",
                public_keys=(key,) if key else (),
                memory=size["MemoryInfo"]["SizeInMiB"],
                cpus=size["VCpuInfo"]["DefaultVCpus"],
                architecture=instance["Architecture"],
                hop_limit=instance.get("MetadataOptions", {}).get("HttpPutResponseHopLimit", 1),
                volumes=tuple((volume, volumes[volume]) for volume in attached if volume in volumes),
            )
        )
    return result


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


def _role(config: Config, profile: str) -> str:
    iam = client(config, "iam")
    roles = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    return roles[0]["RoleName"] if roles else ""
