"""The sandbox's AWS APIs keep their resources, however their process ends."""

from __future__ import annotations

import base64
import contextlib
import functools
import ipaddress
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
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from werkzeug.test import Client

from cli.terraform import AWS_ERRORS
from common import keys
from common.config import Config as Sandbox
from sandbox import ec2
from sandbox.aws import Apis
from sandbox.machine import Deleted
from sandbox.metadata import Metadata

ROOT = Path(__file__).resolve().parents[3]
SESSION = boto3.Session()
KILLS = 10 if os.environ.get("PROVE") == "yes" else 3
# Between two rounds of a reader. The server shares the machine with four of them, and with the other tests.
PAUSE = 0.01 if os.environ.get("PROVE") == "yes" else 0.05
SERVE = """
import sys
from pathlib import Path
from werkzeug.serving import make_server
from common import keys
from sandbox.aws import Apis, Handler
port, fd, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
apis = Apis(folder / "aws.journal", keys.load(folder), f"127.0.0.1:{port}")
server = make_server("127.0.0.1", port, apis, threaded=True, request_handler=Handler, fd=fd)
print("ready", flush=True)
server.serve_forever()
"""


class Server:
    """The APIs on a port of 127.0.0.1, with their journal in a folder. The port is held while they restart."""

    def __init__(self, folder: Path) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.journal, self._folder = folder / "aws.journal", folder
        keys.make(folder)
        self.keys = keys.load(folder)
        self._clients: dict[tuple[str, ...], Any] = {}
        self._making = threading.Lock()
        self.start()

    def start(self) -> None:
        fd = self._listener.fileno()
        command = [sys.executable, "-c", SERVE, str(self.port), str(fd), str(self._folder)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, pass_fds=[fd], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout
        if not self.process.stdout.readline():
            raise AssertionError(f"the APIs do not start: {self.process.communicate()[1][-2000:]}")
        # Nobody reads the log of the requests.
        threading.Thread(target=self.process.communicate, daemon=True).start()

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str, *key: str) -> Any:
        """The client of a service, made once; with the sandbox's key unless another is given."""
        access, secret, token = (*key, None)[:3] if key else (self.keys.access, self.keys.secret, None)
        with self._making:
            if (service, *key) not in self._clients:
                self._clients[service, *key] = SESSION.client(
                    service,
                    endpoint_url=self.url,
                    region_name="us-east-1",
                    aws_access_key_id=access,
                    aws_secret_access_key=secret,
                    aws_session_token=token,
                    # boto3 signs addresses in the way of 2006 otherwise, which AWS takes from old accounts only.
                    config=Config(
                        proxies={}, retries={"total_max_attempts": 1}, signature_version=self._version(service)
                    ),
                )
            return self._clients[service, *key]

    def _version(self, service: str) -> str:
        return "s3v4" if service == "s3" else "v4"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """For the tests that neither end it nor read its whole state."""
    running = Server(tmp_path_factory.mktemp("shared"))
    yield running
    running.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.kill()


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Holds something of every service, for tests that may restart it and add to it."""
    running = Server(tmp_path_factory.mktemp("populated"))
    populate(running)
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


def test_everything_survives_kill(populated: Server) -> None:
    before = everything(populated)
    assert before["metadata"] == {"under_score": "yes"}
    for _ in range(2):
        populated.kill()
        populated.start()
        assert everything(populated) == before


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


def test_reading_is_not_journalled(populated: Server) -> None:
    size = populated.journal.stat().st_size
    everything(populated)
    populated.client("sts").get_caller_identity()
    assert populated.journal.stat().st_size == size


def test_going_on_after_a_restart(populated: Server) -> None:
    """New identifiers do not collide with those from before."""
    before = everything(populated)["instances"]
    populated.kill()
    populated.start()
    ec2 = populated.client("ec2")
    subnet = ec2.describe_subnets(Filters=[{"Name": "cidr-block", "Values": ["10.1.0.0/25"]}])["Subnets"][0]
    image = ec2.describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
    ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="t3.micro", SubnetId=subnet["SubnetId"])
    after = everything(populated)["instances"]
    for index in range(2):
        assert len({one[index] for one in after}) == len(before) + 1 >= 3


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
            with contextlib.suppress(*AWS_ERRORS):
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
    """Reads all the while, whatever comes."""
    calls = (
        server.client("ec2").describe_instances,
        server.client("iam").list_roles,
        server.client("sts").get_caller_identity,
    )
    while not stop.is_set():
        for call in calls:
            with contextlib.suppress(*AWS_ERRORS):
                call()
        stop.wait(PAUSE)


def written(server: Server) -> dict[str, str]:
    """What the APIs say of what writers made: key → identifier."""
    vpcs = server.client("ec2").describe_vpcs()["Vpcs"]
    objects = server.client("s3").list_object_versions(Bucket="written")["Versions"]
    return {vpc["CidrBlock"].split(".")[1]: vpc["VpcId"] for vpc in vpcs} | {
        one["Key"]: one["VersionId"] for one in objects
    }


def test_kills_amid_changes_beside_readers(server: Server) -> None:
    """Whatever was answered has the same identifier after each restart, and nothing that is seen once changes."""
    stop, chance = threading.Event(), random.Random(10)
    readers = [threading.Thread(target=read_until, args=(server, stop), daemon=True) for _ in range(4)]
    writer = Writer(server, 100)
    for thread in (*readers, writer):
        thread.start()
    try:
        for restart in range(KILLS):
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


def session(server: Server) -> list[str]:
    """The key, secret and token of an assumed role."""
    role = "arn:aws:iam::123456789012:role/host"
    given = server.client("sts").assume_role(RoleArn=role, RoleSessionName="i-1234")["Credentials"]
    return [given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]]


def user(server: Server) -> list[str]:
    """The key and secret of an IAM user."""
    iam = server.client("iam")
    iam.create_user(UserName="operator")
    made = iam.create_access_key(UserName="operator")["AccessKey"]
    return [made["AccessKeyId"], made["SecretAccessKey"]]


def test_keys_that_the_apis_hand_out(populated: Server) -> None:
    """They work, say who asks, survive a restart, and are of no use with anything changed."""
    server = populated
    given = {"assumed-role/host/i-1234": session(server), "user/operator": user(server)}
    for restarted in (False, True):
        if restarted:
            server.kill()
            server.start()
        for name, made in given.items():
            assert server.client("sts", *made).get_caller_identity()["Arn"].endswith(name)
            server.client("s3", *made).list_buckets()
    for made in given.values():
        for number in range(len(made)):
            changed = [
                part[:-1] + ("A" if part[-1] != "A" else "B") if i == number else part for i, part in enumerate(made)
            ]
            with pytest.raises(ClientError):
                server.client("sts", *changed).get_caller_identity()
    server.client("iam").delete_access_key(UserName="operator", AccessKeyId=made[0])
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        server.client("sts", *made).get_caller_identity()


def test_session_expires(shared: Server) -> None:
    given = shared.client("sts").assume_role(
        RoleArn="arn:aws:iam::123456789012:role/host", RoleSessionName="short", DurationSeconds=900
    )["Credentials"]
    assert 890 < given["Expiration"].timestamp() - time.time() <= 900


@pytest.mark.parametrize(
    "service, call",
    [
        ("ec2", "describe_instances"),
        ("sts", "get_caller_identity"),
        ("iam", "list_roles"),
        ("s3", "list_buckets"),
        ("ssm", "describe_parameters"),
        ("ecr", "get_authorization_token"),
    ],
)
def test_wrong_key_is_refused_in_the_services_own_format(shared: Server, service: str, call: str) -> None:
    for key, expected in (
        (("sandbox", "sandbox"), "InvalidClientTokenId"),
        ((shared.keys.access, "guessed"), "SignatureDoesNotMatch"),
    ):
        with pytest.raises(ClientError) as refused:
            getattr(shared.client(service, *key), call)()
        assert refused.value.response["Error"]["Code"] == expected


def test_volume_that_is_detached_already(shared: Server) -> None:
    """EC2's own error, which Terraform's provider takes for success: its client may repeat a request."""
    ec2 = shared.client("ec2")
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    image = ec2.describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
    instance = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    ec2.detach_volume(VolumeId=volume, InstanceId=instance)
    with pytest.raises(ClientError, match=rf"\(IncorrectState\).*: Volume '{volume}' is in the 'available' state\."):
        ec2.detach_volume(VolumeId=volume, InstanceId=instance)


def test_every_region_in_use_is_seen(server: Server, tmp_path: Path) -> None:
    """By the follower and by the instances, each of which is told its own region; after a replay, too."""
    here = Sandbox(subnet=ipaddress.IPv4Network("127.0.0.0/24"), aws_port=server.port, state=tmp_path)
    addresses, volumes = {"us-east-1": "10.1.0.10", "eu-west-1": "10.2.0.10"}, set()
    for region, address in addresses.items():
        there, ecr = ec2.client(here, "ec2", region), ec2.client(here, "ecr", region)
        network, zone = address.replace(".10", ".0/24"), f"{region}b"
        vpc = there.create_vpc(CidrBlock=network)["Vpc"]["VpcId"]
        subnet = there.create_subnet(VpcId=vpc, CidrBlock=network, AvailabilityZone=zone)["Subnet"]["SubnetId"]
        image = there.describe_images(Owners=["136693071363"])["Images"][0]["ImageId"]
        there.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId=subnet, PrivateIpAddress=address)
        volume = there.create_volume(AvailabilityZone=zone, Size=1)["VolumeId"]
        there.delete_volume(VolumeId=volume)
        volumes.add(volume)
        ecr.create_repository(repositoryName="api")
        ecr.put_image(repositoryName="api", imageManifest="{}", imageManifestMediaType="kind", imageTag="v1")
        ecr.batch_delete_image(repositoryName="api", imageIds=[{"imageTag": "v1"}])
    found = ec2.instances(here)
    assert {one.region: one.private_ip for one in found} == addresses
    for one in found:
        proof, place = {"X-Sandbox-Proof": server.keys.proof(one.id)}, {"REMOTE_ADDR": one.private_ip}
        ask = functools.partial(Client(Metadata(here, lambda: 0)).open, environ_overrides=place)
        lasting = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = ask("/latest/api/token", method="PUT", headers=proof | lasting).text
        given = proof | {"X-aws-ec2-metadata-token": token}
        assert ask("/latest/meta-data/placement/region", headers=given).text == one.region
        assert ask("/latest/dynamic/instance-identity/document", headers=given).get_json(True)["region"] == one.region
    again = Apis(server.journal, server.keys, "nowhere")
    assert again.machine.deleted() == Deleted(frozenset(volumes), frozenset({"api:v1", "eu-west-1/api:v1"}))
    assert again.machine.instances() == {one.id for one in found}
    again.machine.close()


def test_s3_unsigned_bodies(populated: Server) -> None:
    s3 = populated.client("s3")
    s3.create_bucket(Bucket="unsigned")
    where = {"Bucket": "unsigned", "Key": "a/b c+d~é"}
    beforehand = s3.generate_presigned_url("put_object", Params=where)
    assert "MissingAuthenticationToken" in requests.put(beforehand, data=b"by address").text
    plain = boto3.Session().client(
        "s3",
        endpoint_url=populated.url,
        region_name="us-east-1",
        aws_access_key_id=populated.keys.access,
        aws_secret_access_key=populated.keys.secret,
        config=Config(proxies={}, s3={"payload_signing_enabled": False}),
    )
    plain.put_object(**where, Body=b"not signed")
    assert s3.get_object(**where)["Body"].read() == b"not signed"
    assert populated.keys.access not in populated.journal.read_text()
    populated.kill()
    populated.start()
    assert s3.get_object(**where)["Body"].read() == b"not signed"


def test_what_was_changed_on_the_way(shared: Server) -> None:
    """A signature is for one method, one address, one body, and a quarter of an hour."""
    made = AWSRequest("POST", f"{shared.url}/", data="Action=DescribeInstances&Version=2016-11-15")
    made.headers["Content-Type"] = "application/x-www-form-urlencoded"
    SigV4Auth(Credentials(shared.keys.access, shared.keys.secret), "ec2", "us-east-1").add_auth(made)
    headers = dict(made.headers.items())
    whole = made.prepare()
    assert requests.post(whole.url, whole.body, headers=headers).status_code == 200
    other = requests.post(whole.url, "Action=RunInstances&Version=2016-11-15", headers=headers)
    assert other.status_code == 403 and "SignatureDoesNotMatch" in other.text
    assert requests.post(f"{shared.url}/?x=y", whole.body, headers=headers).status_code == 403
    later = headers | {"X-Amz-Date": "20200101T000000Z"}
    assert requests.post(whole.url, whole.body, headers=later).status_code == 403


def test_change_by_get_is_journalled(populated: Server) -> None:
    made = AWSRequest("GET", f"{populated.url}/?Action=CreateVpc&CidrBlock=10.7.0.0%2F16&Version=2016-11-15")
    SigV4Auth(Credentials(populated.keys.access, populated.keys.secret), "ec2", "us-east-1").add_auth(made)
    assert "CreateVpcResponse" in requests.get(made.url, headers=dict(made.headers.items())).text
    populated.kill()
    populated.start()
    assert "10.7.0.0/16" in {vpc["CidrBlock"] for vpc in populated.client("ec2").describe_vpcs()["Vpcs"]}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "localhost"},
        {"Host": "state.s3.amazonaws.com"},
    ],
)
def test_pages_of_a_browser(shared: Server, headers: dict[str, str]) -> None:
    """Signed or not: a page of another origin, or one whose name was made to lead here."""
    made = AWSRequest("GET", f"{shared.url}/?Action=DescribeVpcs&Version=2016-11-15")
    SigV4Auth(Credentials(shared.keys.access, shared.keys.secret), "ec2", "us-east-1").add_auth(made)
    for method in ("GET", "POST", "OPTIONS"):
        reply = requests.request(method, made.url, headers=dict(made.headers.items()) | headers)
        assert reply.status_code == 403 and reply.text.startswith("sandbox: it ")
        assert not [name for name in reply.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", ["/moto-api/", "/moto-api/reset", "/moto-api/data.json", "/latest/meta-data/iam/"])
def test_firewall_of_moto(shared: Server, path: str) -> None:
    shared.client("s3").create_bucket(Bucket="kept")
    for method in ("GET", "POST"):
        made = AWSRequest(method, f"{shared.url}{path}")
        SigV4Auth(Credentials(shared.keys.access, shared.keys.secret), "s3", "us-east-1").add_auth(made)
        assert requests.request(method, made.url, headers=dict(made.headers.items())).status_code == 403
    assert [one["Name"] for one in shared.client("s3").list_buckets()["Buckets"]] == ["kept"]


@pytest.mark.parametrize("body", ["", "Action=RunInstances&Version=2016-11-15", "Action=AssumeRoleWithWebIdentity"])
def test_not_signed(shared: Server, body: str) -> None:
    size = shared.journal.stat().st_size
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert requests.post(f"{shared.url}/", body, headers=form).status_code == 403
    assert requests.get(f"{shared.url}/?{body}").status_code == 403
    assert shared.journal.stat().st_size == size


def test_password_of_the_image_store(shared: Server) -> None:
    """It is this sandbox's own, and is not expired."""
    given = shared.client("ecr").get_authorization_token()["authorizationData"][0]
    assert base64.b64decode(given["authorizationToken"]).decode() == f"AWS:{shared.keys.registry}"
    assert given["expiresAt"].timestamp() > time.time() + 3600
