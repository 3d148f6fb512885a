"""A load balancer of the sandbox: moto's ELBv2 API, the HAProxy configured from it, and test targets."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from werkzeug.serving import make_server

from common import keys
from common.config import Config
from common.docker import docker, inspect
from common.images import base
from sandbox import ec2, elb, images
from sandbox.aws import Apis, Handler
from tests.support.waiting import eventually

NAME = "parts"
SLOW = 2  # seconds


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """The balancer resets connections of its health checks."""


class Target:
    """A web server at an instance's address. `ready`: what its health checks say."""

    def __init__(self, address: str) -> None:
        self.ready, self.seen = True, Counter[str]()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.seen[self.path] += 1
                if self.path == "/slow":
                    time.sleep(SLOW)
                client = ",".join(self.headers.get_all("X-Forwarded-For", []))
                said = f"{address} {client} {self.headers.get('X-Forwarded-Proto')}"
                self.send_response(503 if self.path == "/readyz" and not outer.ready else 200)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = Server((address, 80), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Cloud:
    """A network, the APIs at its gateway, and two instances with their targets. Nothing is registered at first."""

    def __init__(self, folder: Path) -> None:
        name = f"elb-parts-{os.getpid()}"
        docker("network", "create", name)
        free = self._network(name)["IPAM"]["Config"][0]["Subnet"]
        docker("network", "rm", name)
        # A container may choose its address only where the network was chosen, too.
        docker("network", "create", "--subnet", free, name)
        found, subnet = self._network(name), ipaddress.IPv4Network(free)
        self.config, self._bridge = Config(name=name, subnet=subnet, state=folder), f"br-{found['Id'][:12]}"
        keys.make(folder)
        images.choose(self.config, base=base(folder))
        self.apis = Apis(folder / "aws.journal", keys.load(folder), f"{self.config.gateway}:{self.config.aws_port}")
        self._server = make_server(
            self.config.gateway, self.config.aws_port, self.apis, threaded=True, request_handler=Handler
        )
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.elb = ec2.client(self.config, "elbv2")
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(str(folder / "authority.pem"))
        self._make(subnet, ec2.client(self.config, "ec2"))
        for address in self.instances.values():
            subprocess.run(["ip", "address", "add", f"{address}/32", "dev", self._bridge], check=True)
        self.targets = [Target(address) for address in self.instances.values()]

    def _network(self, name: str) -> dict[str, Any]:
        return inspect("network", name) or {}

    def _make(self, subnet: ipaddress.IPv4Network, api: Any) -> None:
        vpc = api.create_vpc(CidrBlock=str(subnet))["Vpc"]["VpcId"]
        parts = list(subnet.subnets(new_prefix=26))[:2]
        subnets = [
            api.create_subnet(VpcId=vpc, CidrBlock=str(part), AvailabilityZone=f"us-east-1{zone}")["Subnet"]["SubnetId"]
            for part, zone in zip(parts, "ab", strict=True)
        ]
        image = api.describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
        made = [
            api.run_instances(ImageId=image, InstanceType="t3.small", MinCount=1, MaxCount=1, SubnetId=one)
            for one in subnets
        ]
        self.instances = {
            one["InstanceId"]: one["PrivateIpAddress"] for reservation in made for one in reservation["Instances"]
        }
        address = str(parts[0].broadcast_address)
        certificate = self.authority.issue_cert(address)
        self.certificate = ec2.client(self.config, "acm").import_certificate(
            Certificate=certificate.cert_chain_pems[0].bytes(), PrivateKey=certificate.private_key_pem.bytes()
        )["CertificateArn"]
        self.arn = self.elb.create_load_balancer(Name=NAME, Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
        self.group = self.elb.create_target_group(
            **{"Name": NAME, "VpcId": vpc, "Protocol": "HTTP", "Port": 80, "HealthCheckPath": "/readyz"},
            **{"HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2, "Matcher": {"HttpCode": "200"}},
            **{"HealthyThresholdCount": 2, "UnhealthyThresholdCount": 2},
        )["TargetGroups"][0]["TargetGroupArn"]
        forward = [{"Type": "forward", "TargetGroupArn": self.group}]
        to = {"Protocol": "HTTPS", "Port": "443", "StatusCode": "HTTP_301"}
        self.elb.create_listener(
            **{"LoadBalancerArn": self.arn, "Port": 443, "Protocol": "HTTPS", "DefaultActions": forward},
            **{"Certificates": [{"CertificateArn": self.certificate}]},
            SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06",
        )
        self.elb.create_listener(
            **{"LoadBalancerArn": self.arn, "Port": 80, "Protocol": "HTTP"},
            DefaultActions=[{"Type": "redirect", "RedirectConfig": to}],
        )
        self.url = f"https://{address}"

    def sync(self) -> list[str]:
        return elb.sync(self.config, self.apis.machine.certificate)

    def register(self, *instances: str) -> None:
        self.elb.register_targets(TargetGroupArn=self.group, Targets=[{"Id": one} for one in instances])

    def deregister(self, *instances: str) -> None:
        self.elb.deregister_targets(TargetGroupArn=self.group, Targets=[{"Id": one} for one in instances])

    def get(self, path: str = "/", url: str = "", **options: Any) -> requests.Response:
        authority = self.config.state / "authority.pem"
        return requests.get(f"{url or self.url}{path}", verify=str(authority), timeout=10, **options)

    def serving(self) -> Counter[str]:
        """Which addresses answer ten requests, or which statuses."""
        replies = [self.get() for _ in range(10)]
        return Counter(reply.text.split()[0] if reply.ok else str(reply.status_code) for reply in replies)

    def close(self) -> None:
        for target in self.targets:
            target.close()
        for container in docker("ps", "--all", "--quiet", "--filter", f"label={self.config.label}").split():
            docker("rm", "--force", container)
        self._server.shutdown()
        self.apis.machine.close()
        docker("network", "rm", self.config.name)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    made = Cloud(tmp_path_factory.mktemp("cloud"))
    yield made
    made.close()


@pytest.fixture
def both(cloud: Cloud) -> Callable[[], Counter[str]]:
    """Both targets are registered, ready and serve, whatever was before."""
    for target in cloud.targets:
        target.ready = True
    cloud.register(*cloud.instances)

    def even() -> bool:
        cloud.sync()
        return cloud.serving() == Counter(dict.fromkeys(cloud.instances.values(), 5))

    eventually(even, 30)
    return cloud.serving


def test_without_targets(cloud: Cloud) -> None:
    assert cloud.sync() == [f"{NAME}: load balancer at {cloud.url} started"]
    assert eventually(lambda: cloud.get().status_code, 15) == 503
    assert cloud.sync() == []


def test_client_is_named_and_http_is_redirected(cloud: Cloud, both: Any) -> None:
    reply = cloud.get("/a?b=c", url=cloud.url.replace("https", "http"), headers={"X-Forwarded-For": "203.0.113.9"})
    assert [one.status_code for one in reply.history] == [301]
    assert reply.url == f"{cloud.url}:443/a?b=c"
    # As AWS does, it adds the client's address to the client's own claim.
    assert reply.text.split()[1:] == [f"203.0.113.9,{cloud.config.gateway}", "https"], reply.text


def test_target_that_never_passed_a_check_gets_no_request(cloud: Cloud, both: Any) -> None:
    one, other = cloud.instances
    cloud.deregister(other)
    assert cloud.sync() == [f"{NAME}: load balancer at {cloud.url} changed"]
    cloud.targets[1].ready = False
    cloud.register(other)
    assert cloud.sync() == []
    eventually(lambda: set(both()) == {cloud.instances[one]})
    cloud.targets[1].ready = True
    assert cloud.sync()
    eventually(lambda: len(both()) == 2)


def test_requests_end_where_they_began_when_a_target_goes(cloud: Cloud, both: Any) -> None:
    one, other = cloud.instances
    with ThreadPoolExecutor() as pool:
        slow = [pool.submit(cloud.get, "/slow") for _ in range(2)]
        eventually(lambda: all(target.seen["/slow"] for target in cloud.targets))
        cloud.deregister(one)
        assert cloud.sync()
        eventually(lambda: set(both()) == {cloud.instances[other]})
        assert {ended.result().text.split()[0] for ended in slow} == set(cloud.instances.values())


def test_health(cloud: Cloud, both: Any) -> None:
    one, other = cloud.instances.values()
    cloud.targets[0].ready = False
    eventually(lambda: both() == Counter({other: 10}), 20)
    cloud.targets[1].ready = False
    # None is left, so all get requests.
    eventually(lambda: both() == Counter({one: 5, other: 5}), 20)


def test_container_that_is_gone_is_made_again(cloud: Cloud, both: Any) -> None:
    docker("rm", "--force", f"{cloud.config.name}-elb-{NAME}")
    assert cloud.sync() == [f"{NAME}: load balancer at {cloud.url} started"]
    eventually(lambda: len(both()) == 2)


def test_deleted(cloud: Cloud) -> None:
    cloud.elb.delete_load_balancer(LoadBalancerArn=cloud.arn)
    assert cloud.sync() == [f"{NAME}: deleted, its load balancer is removed"]
    assert inspect("container", f"{cloud.config.name}-elb-{NAME}") is None
    assert cloud.sync() == []
