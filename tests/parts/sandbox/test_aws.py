"""The sandbox's AWS APIs: what they were told survives the process, whatever way it ended."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parents[3]
SERVE = """
import sys
from pathlib import Path
from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import make_server
from sandbox.aws import Apis
make_server("127.0.0.1", int(sys.argv[1]), Apis(Path(sys.argv[2])), threaded=True,
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
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    # Nobody reads the log of the requests.
                    threading.Thread(target=self.process.communicate, daemon=True).start()
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"the APIs do not start: {self.process.communicate()[1].decode()[-2000:]}")

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def client(self, service: str) -> Any:
        return boto3.Session().client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="x",
            config=Config(proxies={}, retries={"total_max_attempts": 1}),
        )


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.kill()


def everything(server: Server) -> dict[str, Any]:
    """What the APIs answer about what `populate` made."""
    ec2, s3, ecr = server.client("ec2"), server.client("s3"), server.client("ecr")
    instances = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    return {
        "instances": sorted((i["InstanceId"], i["PrivateIpAddress"], str(i["LaunchTime"])) for i in instances),
        "vpcs": ec2.describe_vpcs()["Vpcs"],
        "subnets": ec2.describe_subnets()["Subnets"],
        "keys": ec2.describe_key_pairs()["KeyPairs"],
        "objects": [
            (one["Key"], one["VersionId"], one["ETag"], one["LastModified"])
            for one in s3.list_object_versions(Bucket="state")["Versions"]
        ],
        "state": s3.get_object(Bucket="state", Key="a/b c.tfstate")["Body"].read(),
        "metadata": s3.head_object(Bucket="state", Key="a/b c.tfstate")["Metadata"],
        "repositories": ecr.describe_repositories()["repositories"],
        "roles": server.client("iam").list_roles()["Roles"],
        "parameter": server.client("ssm").get_parameter(Name="/x", WithDecryption=True)["Parameter"],
        "databases": [
            (one["DbiResourceId"], one["InstanceCreateTime"])
            for one in server.client("rds").describe_db_instances()["DBInstances"]
        ],
        "master keys": server.client("kms").list_keys()["Keys"],
    }


def populate(server: Server) -> None:
    """Something of every service that the project uses, and whatever moto makes with randomness of its own."""
    ec2 = server.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/24")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.1.0.0/25")["Subnet"]["SubnetId"]
    image = ec2.describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, MinCount=2, MaxCount=2, InstanceType="t3.micro", SubnetId=subnet)
    for kind in ("rsa", "ed25519"):
        ec2.create_key_pair(KeyName=kind, KeyType=kind)
    s3 = server.client("s3")
    s3.create_bucket(Bucket="state")
    s3.put_bucket_versioning(Bucket="state", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="state", Key="a/b c.tfstate", Body=bytes(range(256)) * 4, Metadata={"under_score": "yes"})
    upload = {"Bucket": "state", "Key": "parts"}
    upload["UploadId"] = s3.create_multipart_upload(**upload)["UploadId"]
    part = {"PartNumber": 1, "ETag": s3.upload_part(**upload, PartNumber=1, Body=b"x" * 99)["ETag"]}
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]})
    server.client("ecr").create_repository(repositoryName="api")
    server.client("iam").create_role(RoleName="host", AssumeRolePolicyDocument="{}")
    server.client("ssm").put_parameter(Name="/x", Type="SecureString", Value="secret")
    server.client("kms").create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    server.client("rds").create_db_instance(
        DBInstanceIdentifier="comments",
        DBInstanceClass="db.t3.micro",
        Engine="postgres",
        MasterUsername="comments",
        MasterUserPassword="of-no-use",
        AllocatedStorage=20,
    )


def test_everything_survives_kill(server: Server) -> None:
    populate(server)
    before = everything(server)
    assert before["metadata"] == {"under_score": "yes"}
    for _ in range(2):
        server.kill()
        server.start()
        assert everything(server) == before


def test_reads_make_no_difference(server: Server) -> None:
    """A read that is the first to touch a service makes its default resources; the replay comes there otherwise."""
    for service, call in (("ec2", "describe_vpcs"), ("iam", "list_policies"), ("rds", "describe_db_subnet_groups")):
        getattr(server.client(service), call)()
    defaults = server.client("ec2").describe_subnets()["Subnets"]
    populate(server)
    before = everything(server)
    server.kill()
    server.start()
    assert everything(server) == before
    assert [one for one in server.client("ec2").describe_subnets()["Subnets"] if one["DefaultForAz"]] == defaults


def test_reading_is_not_journalled(server: Server) -> None:
    populate(server)
    size = server.journal.stat().st_size
    everything(server)
    server.client("sts").get_caller_identity()
    assert server.journal.stat().st_size == size


def test_going_on_after_a_restart(server: Server) -> None:
    """New identifiers do not collide with those from before."""
    populate(server)
    server.kill()
    server.start()
    ec2 = server.client("ec2")
    subnet = ec2.describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.1.0.0/25"]}])["Subnets"][0]
    image = ec2.describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.micro", SubnetId=subnet["SubnetId"])
    addresses = [address for _, address, _ in everything(server)["instances"]]
    assert len(set(addresses)) == 3


class Writer(threading.Thread):
    """Changes things until it has made a number of requests; keeps what it was answered.

    Attributes:
        known: key → identifier, of every request that was answered.
    """

    def __init__(self, server: Server, count: int) -> None:
        super().__init__(daemon=True)
        self._server, self._left = server, count
        self.known: dict[str, str] = {}

    def run(self) -> None:
        ec2, s3 = self._server.client("ec2"), self._server.client("s3")
        while self._left > 0:
            with contextlib.suppress(BotoCoreError, ClientError):
                self._write(ec2, s3)

    def _write(self, ec2: Any, s3: Any) -> None:
        s3.create_bucket(Bucket="written")
        s3.put_bucket_versioning(Bucket="written", VersioningConfiguration={"Status": "Enabled"})
        while self._left > 0:
            self._left -= 1
            number = self._left
            if number % 2:
                made = ec2.create_vpc(CidrBlock=f"10.{number}.0.0/24")["Vpc"]["VpcId"]
            else:
                made = s3.put_object(Bucket="written", Key=str(number), Body=os.urandom(2000))["VersionId"]
            self.known[str(number)] = made


def read_until(server: Server, stop: threading.Event) -> None:
    """Reads as fast as it can, whatever comes."""
    calls = (
        server.client("ec2").describe_instances,
        server.client("iam").list_roles,
        server.client("sts").get_caller_identity,
    )
    while not stop.is_set():
        for call in calls:
            with contextlib.suppress(BotoCoreError, ClientError):
                call()
        # The server shares the machine with them.
        stop.wait(0.01)


def written(server: Server) -> dict[str, str]:
    """What the APIs say of what writers made: key → identifier."""
    vpcs = server.client("ec2").describe_vpcs()["Vpcs"]
    objects = server.client("s3").list_object_versions(Bucket="written")["Versions"]
    return {vpc["CidrBlock"].split(".")[1]: vpc["VpcId"] for vpc in vpcs} | {
        one["Key"]: one["VersionId"] for one in objects
    }


def test_ten_kills_amid_changes_beside_readers(server: Server) -> None:
    """Whatever was answered has the same identifier after each restart, and nothing that is seen once changes."""
    stop, chance = threading.Event(), random.Random(10)
    readers = [threading.Thread(target=read_until, args=(server, stop), daemon=True) for _ in range(4)]
    writer = Writer(server, 100)
    for thread in (*readers, writer):
        thread.start()
    try:
        for restart in range(10):
            # About ten answers a life, and then at any moment of the next request.
            wanted, deadline = min(9 * (restart + 1), 80), time.monotonic() + 60
            while len(writer.known) < wanted and time.monotonic() < deadline:
                time.sleep(0.005)
            assert len(writer.known) >= wanted
            time.sleep(chance.random() / 20)
            server.kill()
            server.start()
            known, found = dict(writer.known), written(server)
            assert {key: found.get(key) for key in known} == known
        writer.join(120)
    finally:
        stop.set()
    assert not writer.is_alive() and len(writer.known) > 80
    before = written(server)
    server.kill()
    server.start()
    assert written(server) == before


def test_disk_that_is_full(tmp_path: Path) -> None:
    """A change is refused before anything has happened, reads go on, and so does everything once there is room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
    try:
        server = Server(disk)
        try:
            s3 = server.client("s3")
            s3.create_bucket(Bucket="state")
            s3.put_object(Bucket="state", Key="small", Body=b"small")
            with pytest.raises(ClientError) as refused:
                s3.put_object(Bucket="state", Key="large", Body=b"x" * 300_000)
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
            s3.put_object(Bucket="state", Key="smaller", Body=b"smaller")
            server.kill()
            server.start()
            assert [one["Key"] for one in s3.list_objects_v2(Bucket="state")["Contents"]] == ["small", "smaller"]
        finally:
            server.kill()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
