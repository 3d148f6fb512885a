"""The site with a second host, and one real PostgreSQL server that both share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network
from types import SimpleNamespace

import pytest

from tests.release.conftest import Releases, pushed, releases
from verbs import host, terraform
from verbs.environment import ROOT

sys.path.append(str(ROOT / "api" / "bench"))

from postgres import Postgres

PARAMETER = "/comentarios/database_url"
VARIABLES = {"TF_VAR_instance_count": "2", "TF_VAR_database_url_parameter": PARAMETER}

__all__ = ["pushed", "releases"]


@pytest.fixture(scope="package")
def postgres(up) -> Iterator[Postgres]:
    """A server at the sandbox's gateway, where RDS would be in the VPC."""
    network = IPv4Network(os.environ["SANDBOX_SUBNET"])
    server = Postgres.create(IPv4Interface(f"{network[1]}/{network.prefixlen}"))
    yield server
    server.remove()


@pytest.fixture(scope="package")
def two(up, releases, postgres) -> SimpleNamespace:
    """`first` and `second`: the hosts' releases, edges and shells."""
    terraform.client(up.target, "ssm").put_parameter(
        Name=PARAMETER, Type="SecureString", Value=postgres.network_url, Overwrite=True
    )
    done = up.make("up", timeout=1500, WATCH="0", **VARIABLES)
    assert done.returncode == 0, done.stdout[-6000:]
    found = host.hosts(up.target)
    assert [one.name for one in found] == ["comentarios-1", "comentarios-2"]
    first, second = (Releases(up.on(one)) for one in found)
    return SimpleNamespace(first=first, second=second)
