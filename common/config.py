"""Names, addresses and folders of the sandbox."""

import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from common import keys, ports
from common.errors import CommandError
from common.paths import STATE

ACCOUNT = "123456789012"
REGION = "us-east-1"  # of an environment whose settings name none
ECR_USER = "AWS"


def regions() -> list[str]:
    """Every region that an environment may be in: where ECR is."""
    import botocore.session

    return botocore.session.Session().get_available_regions("ecr")


def ecr_host(region: str) -> str:
    return f"{ACCOUNT}.dkr.ecr.{region}.amazonaws.com"


def stored(region: str, repository: str) -> str:
    """A repository's name in ECR's image store, which is one for all regions."""
    return repository if region == REGION else f"{region}/{repository}"


def _name() -> str:
    value = os.environ.get("SANDBOX_NAME") or "comentarios-sandbox"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        raise CommandError(f"SANDBOX_NAME={value} is not a name: give letters, digits and hyphens")
    return value


def _port(variable: str, default: int) -> int:
    return ports.number(variable, os.environ.get(variable) or str(default))


def _subnet() -> ipaddress.IPv4Network:
    value = os.environ.get("SANDBOX_SUBNET") or "10.83.0.0/24"
    try:
        subnet = ipaddress.IPv4Network(value)
    except ValueError as error:
        raise CommandError(f"SANDBOX_SUBNET={value}: {error}; set it to a private network like 10.83.0.0/24") from None
    if not subnet.is_private or not 16 <= subnet.prefixlen <= 26:
        raise CommandError(f"SANDBOX_SUBNET={value}: set it to a private network from /16 to /26")
    return subnet


@dataclass(frozen=True)
class Config:
    """Settings of one sandbox.

    Attributes:
        name: prefix of all its names in Docker, and the value of its label (``SANDBOX_NAME``).
        subnet: its Docker network, which is also the VPC's only subnet (``SANDBOX_SUBNET``).
        aws_port: TCP port of the AWS APIs, on the network's gateway address (``SANDBOX_AWS_PORT``).
        metadata_port: TCP port of the instance metadata service, there too (``SANDBOX_METADATA_PORT``).
        registry_port: TCP port on 127.0.0.1 where this machine pushes to ECR (``SANDBOX_REGISTRY_PORT``).
        edge_port: TCP port on 127.0.0.1 that reaches port 80 of the first host (``EDGE_PORT``).
        grafana_image: replaces the inventory's image of Grafana (``GRAFANA_IMAGE``).
        state: folder for everything that is kept between runs (``SANDBOX_STATE``).
    """

    name: str = field(default_factory=_name)
    subnet: ipaddress.IPv4Network = field(default_factory=_subnet)
    aws_port: int = field(default_factory=lambda: _port("SANDBOX_AWS_PORT", 4566))
    metadata_port: int = field(default_factory=lambda: _port("SANDBOX_METADATA_PORT", 4567))
    registry_port: int = field(default_factory=lambda: _port("SANDBOX_REGISTRY_PORT", 4568))
    edge_port: int = field(default_factory=lambda: _port("EDGE_PORT", 8080))
    grafana_image: str = field(default_factory=lambda: os.environ.get("GRAFANA_IMAGE", ""))
    state: Path = field(default_factory=lambda: Path(os.environ.get("SANDBOX_STATE") or STATE / "sandbox").absolute())

    @property
    def gateway(self) -> str:
        """This machine's address in the network; the AWS APIs listen on it."""
        return str(self.subnet[1])

    @property
    def registry_address(self) -> str:
        """The registry's address: the last one that AWS reserves in a subnet."""
        return str(self.subnet[3])

    def host_name(self, instance: str) -> str:
        """The name of the container that is an EC2 instance's host."""
        return f"{self.name}-{instance}"

    @property
    def endpoint(self) -> str:
        return f"http://{self.gateway}:{self.aws_port}"

    @property
    def label(self) -> str:
        """The Docker label of everything in this sandbox."""
        return f"comentarios.sandbox={self.name}"

    @property
    def push_address(self) -> str:
        """ECR's address for this machine's engine, which needs no CA for a registry on 127.0.0.1."""
        return f"127.0.0.1:{self.registry_port}"

    def credentials(self) -> dict[str, str]:
        """The environment for AWS clients of this sandbox."""
        own = keys.load(self.state)
        no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1", "localhost", str(self.subnet)]))
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": own.access,
            "AWS_SECRET_ACCESS_KEY": own.secret,
            # A session token of the user's own would not match the sandbox's key.
            "AWS_SESSION_TOKEN": "",
            "AWS_EC2_METADATA_DISABLED": "true",
            # botocore compares host names only, Go's clients also understand networks.
            "NO_PROXY": f"{no_proxy},{self.gateway}",
            "no_proxy": f"{no_proxy},{self.gateway}",
        }
