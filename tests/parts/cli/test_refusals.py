"""Bad circumstances: each gives one line with the error and what to do, and a non-zero exit status."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time

import pytest

from tests.support.site import OWN, make

# A sandbox that never comes up: every one of these is refused before anything is made.
REFUSED = {
    "SANDBOX_NAME": "comentarios-refused",
    "SANDBOX_SUBNET": "10.89.0.0/24",
    "SANDBOX_STATE": f"{OWN['SANDBOX_STATE']}-refused",
    "SANDBOX_REGISTRY_PORT": "4572",
    "EDGE_PORT": "8096",
}


def refusal(verb: str = "up", **variables: str) -> str:
    """The one line of a verb that must fail."""
    done = make(verb, timeout=120, **{**REFUSED, **variables})
    assert done.returncode != 0, done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    assert lines, done.stdout
    assert "Traceback" not in done.stdout
    return lines[0]


@pytest.fixture(scope="module", autouse=True)
def nothing_left():
    yield
    shutil.rmtree(REFUSED["SANDBOX_STATE"], ignore_errors=True)
    listed = subprocess.run(
        ["docker", "network", "ls", "--quiet", "--filter", "label=comentarios.sandbox=comentarios-refused"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout == ""


def test_missing_tool(tmp_path):
    for tool in ("git", "make", "sh", "ssh", "ssh-keygen", "docker"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    # Nothing can be downloaded.
    line = refusal(PATH=str(tmp_path), PYTHON=sys.executable, https_proxy="http://127.0.0.1:1")
    assert line.startswith("✗ terraform is missing, and https://releases.hashicorp.com/terraform/")
    assert line.endswith("Connection refused): install Terraform 1.10 or later and put it on the PATH")


def test_unknown_target():
    assert refusal(TARGET="gcp") == "✗ TARGET=gcp is not a target: give `sandbox` (the default) or `aws`"


def test_engine_that_is_not_there():
    line = refusal(DOCKER_HOST="unix:///nowhere.sock")
    assert line == "✗ no Docker Engine answers at DOCKER_HOST=unix:///nowhere.sock: start it, or unset DOCKER_HOST"


@pytest.mark.parametrize("variable", ["EDGE_PORT", "SANDBOX_REGISTRY_PORT"])
def test_port_that_is_taken(variable):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        taken = f"port {port} of 127.0.0.1 is in use (Address already in use)"
        assert refusal(**{variable: port}) == f"✗ {taken}: set {variable} to a free port"


def test_port_that_is_none():
    assert refusal(EDGE_PORT="http") == "✗ EDGE_PORT=http is not a port: set it to a number from 1 to 65535"


def test_subnet_that_is_taken():
    # What a run that was killed left.
    subprocess.run(["docker", "network", "rm", "comentarios-taken"], capture_output=True, check=False)
    subprocess.run(["docker", "network", "create", "--subnet", "10.99.7.0/24", "comentarios-taken"], check=True)
    try:
        line = refusal(SANDBOX_SUBNET="10.99.7.0/24")
    finally:
        subprocess.run(["docker", "network", "rm", "comentarios-taken"], check=True)
    assert line.endswith("set SANDBOX_SUBNET to a free network (it is 10.99.7.0/24)")


@pytest.mark.parametrize("subnet", ["10.0.0.0/8", "8.8.8.0/24", "10.83.0.1/24", "home"])
def test_subnet_that_is_none(subnet):
    assert refusal(SANDBOX_SUBNET=subnet).startswith(f"✗ SANDBOX_SUBNET={subnet}: ")


def test_disk_that_is_full(tmp_path):
    """A real engine whose disk has 64 MiB."""
    disk, run = tmp_path / "disk", tmp_path / "run"
    disk.mkdir()
    address = f"unix://{tmp_path}/docker.sock"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=True)
    engine = subprocess.Popen(
        # In a network of its own: with --bridge none it would delete the docker0 of the engine that runs.
        [
            "unshare",
            "--net",
            "dockerd",
            "--host",
            address,
            "--data-root",
            disk,
            "--exec-root",
            run,
            "--pidfile",
            tmp_path / "pid",
        ]
        + ["--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(100):
            if subprocess.run(["docker", "--host", address, "info"], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.2)
        line = refusal(DOCKER_HOST=address)
    finally:
        engine.terminate()
        engine.wait(30)
        subprocess.run(["umount", "--lazy", disk], check=True)
    assert line == f"✗ {disk} has 0.1 GiB free, but 6 GiB are needed: free some space"


class TestAws:
    """TARGET=aws without credentials that AWS would take."""

    CLEAN = {name: "" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL")}
    HELP = "sign in and set AWS_PROFILE and AWS_REGION as docs/aws.md shows"

    def refused(self, tmp_path, configuration: str = "", **variables: str) -> str:
        (tmp_path / "config").write_text(configuration)
        files = {
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": "us-east-1",
        }
        return refusal(TARGET="aws", **{**self.CLEAN, **files, **variables})

    def test_no_credentials(self, tmp_path):
        line = self.refused(tmp_path)
        assert line == f"✗ AWS does not accept the credentials: Unable to locate credentials; {self.HELP}"

    def test_no_region(self, tmp_path):
        line = self.refused(tmp_path, AWS_REGION="", AWS_DEFAULT_REGION="")
        assert line == f"✗ no AWS region is set; {self.HELP}"

    def test_unknown_profile(self, tmp_path):
        line = self.refused(tmp_path, AWS_PROFILE="absent")
        assert "The config profile (absent) could not be found" in line and line.endswith(self.HELP)

    def refused_by_vault(self, tmp_path, script: str) -> str:
        vault = tmp_path / "aws-vault"
        vault.write_text(f"#!/bin/sh\n{script}\n")
        vault.chmod(0o755)
        configuration = f"[profile ops]\ncredential_process = {vault} export --format=json ops\n"
        return self.refused(tmp_path, configuration, AWS_PROFILE="ops")

    def test_vault_that_refuses(self, tmp_path):
        line = self.refused_by_vault(tmp_path, "echo 'aws-vault: error: exec: MFA token expired' >&2; exit 1")
        assert "MFA token expired" in line and line.endswith(self.HELP)

    def test_session_that_has_expired(self, tmp_path):
        old = {"AccessKeyId": "old", "SecretAccessKey": "old", "SessionToken": "old"}
        identity = json.dumps({"Version": 1, **old, "Expiration": "2020-01-01T00:00:00Z"})
        line = self.refused_by_vault(tmp_path, f"echo '{identity}'")
        assert "expired" in line and line.endswith(self.HELP)
