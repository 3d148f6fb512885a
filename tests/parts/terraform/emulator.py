"""AWS's APIs for one test: moto's server on a free port of the loopback interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parents[3]
# As it was before the first test: pytest and the tests take variables out of ours, and a thread that reads all of it
# in that moment fails with KeyError.
ENVIRONMENT = dict(os.environ)
# What Python compiled is kept: moto and checkov take twice as long to start without.
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)
ENVIRONMENT["PYTHONPYCACHEPREFIX"] = str(ROOT / ".state" / "pycache")
REGION = "us-east-1"
ACCOUNT = "123456789012"
# Told apart from anything else in a state or a log: the tests look for them there.
OPERATOR_KEY, PIPELINE_KEY, HOST_KEY = "AKIATESTTESTOPERATOR", "AKIATESTTESTPIPELINE", "AKIATESTTESTTESTHOST"
ACCESS_KEY, SECRET_KEY = "AKIATESTTESTTESTTEST", "secret-key-of-the-tests"

# Two lists are left out. A network interface goes with its instance on AWS, moto keeps it. AWS's own key for EBS comes
# with an account's first encrypted volume, and cannot be removed. We make neither kind ourselves.
# What each API lists: service, operation, the key of its list, what names an entry, and arguments.
LISTS: tuple[tuple[str, str, str, str, dict[str, Any]], ...] = (
    ("acm", "list_certificates", "CertificateSummaryList", "CertificateArn", {}),
    ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName", {}),
    ("ec2", "describe_addresses", "Addresses", "AllocationId", {}),
    ("ec2", "describe_internet_gateways", "InternetGateways", "InternetGatewayId", {}),
    ("ec2", "describe_key_pairs", "KeyPairs", "KeyName", {}),
    ("ec2", "describe_nat_gateways", "NatGateways", "NatGatewayId", {}),
    ("ec2", "describe_route_tables", "RouteTables", "RouteTableId", {}),
    ("ec2", "describe_security_group_rules", "SecurityGroupRules", "SecurityGroupRuleId", {}),
    ("ec2", "describe_security_groups", "SecurityGroups", "GroupId", {}),
    ("ec2", "describe_snapshots", "Snapshots", "SnapshotId", {"OwnerIds": ["self"]}),
    ("ec2", "describe_subnets", "Subnets", "SubnetId", {}),
    ("ec2", "describe_volumes", "Volumes", "VolumeId", {}),
    ("ec2", "describe_vpcs", "Vpcs", "VpcId", {}),
    ("ecr", "describe_repositories", "repositories", "repositoryName", {}),
    ("elbv2", "describe_load_balancers", "LoadBalancers", "LoadBalancerArn", {}),
    ("elbv2", "describe_target_groups", "TargetGroups", "TargetGroupArn", {}),
    ("iam", "list_groups", "Groups", "GroupName", {}),
    ("iam", "list_instance_profiles", "InstanceProfiles", "InstanceProfileName", {}),
    ("iam", "list_open_id_connect_providers", "OpenIDConnectProviderList", "Arn", {}),
    ("iam", "list_policies", "Policies", "PolicyName", {"Scope": "Local"}),
    ("iam", "list_roles", "Roles", "RoleName", {}),
    ("iam", "list_users", "Users", "UserName", {}),
    ("logs", "describe_log_groups", "logGroups", "logGroupName", {}),
    ("s3", "list_buckets", "Buckets", "Name", {}),
    ("ssm", "describe_parameters", "Parameters", "Name", {}),
)


class Emulator:
    """moto's server; stop it with `stop`.

    Args:
        folder: where its log goes.

    Raises:
        RuntimeError: it did not answer within 180 seconds; the message holds its log.
    """

    def __init__(self, folder: Path) -> None:
        log = folder / "moto.log"
        self._session: Any = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
        self._clients: dict[tuple[str, str], Any] = {}
        self._requests = folder / "requests.jsonl"
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.parts.terraform.recorder", self._requests],
                cwd=ROOT,
                env=ENVIRONMENT | {"MOTO_AMIS_PATH": str(ROOT / "sandbox" / "amis.json")},
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        assert self._process.stdout
        self.endpoint = f"http://127.0.0.1:{self._process.stdout.readline().strip()}"
        deadline = time.monotonic() + 180
        while True:
            try:
                self.client("sts").get_caller_identity()
                return
            except (BotoCoreError, ClientError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"moto's server does not answer:\n{log.read_text()}") from None
                time.sleep(0.2)

    def stop(self) -> None:
        # All that it has is in memory: nothing is lost by not asking politely.
        self._process.kill()
        self._process.wait(60)

    def requests(self) -> list[dict[str, Any]]:
        """Every request so far that was signed, as the recorder wrote it."""
        return [json.loads(line) for line in self._requests.read_text().splitlines()]

    def environment(self, key: str = ACCESS_KEY) -> dict[str, str]:
        """What every AWS client needs to talk to this server and to nothing else, as the one whose key this is."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def client(self, service: str, key: str = ACCESS_KEY) -> Any:
        """The client of a service, made once: each reads the service's whole description. Not thread-safe."""
        if (service, key) not in self._clients:
            self._clients[service, key] = self._session.client(
                service,
                endpoint_url=self.endpoint,
                aws_access_key_id=key,
                aws_secret_access_key=SECRET_KEY,
                # Told that there is no proxy, it does not look for one in the environment.
                config=Config(proxies={}),
            )
        return self._clients[service, key]

    def inventory(self) -> set[str]:
        """Everything that the APIs list, as `service operation name`; terminated instances do not count."""
        found = set()
        for service, operation, key, name, arguments in LISTS:
            client = self.client(service)
            if client.can_paginate(operation):
                pages = client.get_paginator(operation).paginate(**arguments)
            else:
                pages = [getattr(client, operation)(**arguments)]
            found |= {f"{service} {operation} {entry[name]}" for page in pages for entry in page[key]}
        pages = self.client("ec2").get_paginator("describe_instances").paginate()
        for reservation in (reservation for page in pages for reservation in page["Reservations"]):
            for instance in reservation["Instances"]:
                if instance["State"]["Name"] != "terminated":
                    found.add(f"ec2 describe_instances {instance['InstanceId']}")
        return found
