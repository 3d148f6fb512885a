"""The sandbox's AWS APIs: what they were told survives the process, whatever way it ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[3]
SERVE = """
import sys
from pathlib import Path
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server
from sandbox.aws import application
make_server("127.0.0.1", int(sys.argv[1]), application(Path(sys.argv[2])), threaded=True,
            request_handler=MotoRequestHandler).serve_forever()
"""


class Server:
    """The APIs on a free port of 127.0.0.1, with their journal in a folder."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.journal = folder / "aws.journal"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", SERVE, str(self.port), str(self.journal)]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError("the APIs do not start")

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def client(self, service: str):
        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(proxies={}),
        )


@pytest.fixture
def server(tmp_path):
    running = Server(tmp_path)
    yield running
    running.kill()


def everything(server: Server) -> dict:
    """What the APIs answer about what `populate` made, but for the times."""
    ec2, s3, ecr = server.client("ec2"), server.client("s3"), server.client("ecr")
    instances = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    return {
        "instances": [(i["InstanceId"], i["PrivateIpAddress"], i["State"]["Name"], i["SubnetId"]) for i in instances],
        "state": s3.get_object(Bucket="state", Key="a/b c.tfstate")["Body"].read(),
        "repositories": [r["repositoryName"] for r in ecr.describe_repositories()["repositories"]],
        "roles": [(r["RoleName"], r["RoleId"]) for r in server.client("iam").list_roles()["Roles"]],
        "parameter": server.client("ssm").get_parameter(Name="/x", WithDecryption=True)["Parameter"]["Value"],
    }


def populate(server: Server) -> None:
    ec2 = server.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/24")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.0.0/25")["Subnet"]["SubnetId"]
    image = ec2.describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, MinCount=2, MaxCount=2, InstanceType="t3.micro", SubnetId=subnet)
    s3 = server.client("s3")
    s3.create_bucket(Bucket="state")
    s3.put_object(Bucket="state", Key="a/b c.tfstate", Body=bytes(range(256)) * 4)
    server.client("ecr").create_repository(repositoryName="api")
    server.client("iam").create_role(RoleName="host", AssumeRolePolicyDocument="{}")
    server.client("ssm").put_parameter(Name="/x", Type="SecureString", Value="secret")


def test_everything_survives_kill(server):
    populate(server)
    before = everything(server)
    for _ in range(2):
        server.kill()
        server.start()
        assert everything(server) == before


def test_reading_is_not_journalled(server):
    populate(server)
    size = server.journal.stat().st_size
    everything(server)
    server.client("sts").get_caller_identity()
    assert server.journal.stat().st_size == size


def test_line_that_the_power_cut_is_dropped(server):
    populate(server)
    before = everything(server)
    server.kill()
    with server.journal.open("a") as journal:
        journal.write('{"environ": {"REQUEST_METHOD": "PO')
    server.start()
    assert everything(server) == before


def test_going_on_after_a_restart(server):
    """New identifiers do not collide with those from before."""
    populate(server)
    server.kill()
    server.start()
    ec2 = server.client("ec2")
    subnet = ec2.describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.1.0.0/25"]}])["Subnets"][0]
    image = ec2.describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.micro", SubnetId=subnet["SubnetId"])
    addresses = [address for _, address, _, _ in everything(server)["instances"]]
    assert len(set(addresses)) == 3
