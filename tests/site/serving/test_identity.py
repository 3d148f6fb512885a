"""Credentials on AWS: a profile with aws-vault as credential_process works in Terraform, Ansible and boto3.

aws-vault itself wants a person with a second factor; a stand-in on the PATH answers with the documented JSON:
https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path

import boto3
import pytest

from cli import terraform
from common.config import Config
from sandbox import ec2
from tests.support.site import ROOT

STANDIN = """#!/bin/sh
echo "$@" >> {calls}
{answer}
"""
CONFIGURATION = """[profile ops]
region = us-east-1
credential_process = aws-vault export --format=json ops
"""
CALL = "export --format=json ops"


@pytest.fixture
def vault(up, tmp_path, monkeypatch):
    """Only the profile knows credentials; gives the environment, and a function that sets the vault's answer."""
    sts = ec2.client(Config(), "sts")
    session = sts.assume_role(RoleArn="arn:aws:iam::123456789012:role/operator", RoleSessionName="vault")["Credentials"]
    identity = {"Version": 1, **session, "Expiration": session["Expiration"].isoformat(timespec="seconds")}
    (tmp_path / "config").write_text(CONFIGURATION)
    calls, program = tmp_path / "calls", tmp_path / "bin" / "aws-vault"
    program.parent.mkdir()

    def answer(shell: str) -> None:
        calls.write_text("")
        program.write_text(STANDIN.format(calls=calls, answer=shell))
        program.chmod(0o755)

    answer(f"echo '{json.dumps(identity)}'")
    environment = {
        name: value
        for name, value in up.target.environment().items()
        if name not in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    } | {
        "AWS_PROFILE": "ops",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "PATH": f"{program.parent}:{up.target.variables['PATH']}",
    }
    for name in set(os.environ) - set(environment):
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Vault(calls, answer, [session[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")])


class Vault:
    """The stand-in: what it was asked, and what it answers."""

    def __init__(self, calls: Path, answer, secrets: list[str]):
        self._calls, self.answer, self.secrets = calls, answer, secrets

    def was_asked(self) -> bool:
        """Whether it was asked since the last time, and for this profile alone."""
        calls = self._calls.read_text().splitlines()
        self._calls.write_text("")
        assert set(calls) <= {CALL}, calls
        return bool(calls)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def _plan() -> subprocess.CompletedProcess[str]:
    return _run("terraform", "-chdir=terraform", "plan", "-input=false", "-detailed-exitcode", "-no-color")


def test_one_profile_serves_every_tool(up, vault):
    terraform.write_cli_configuration()
    bucket = f"comentarios-{boto3.Session().client('sts').get_caller_identity()['Account']}-us-east-1-state"
    assert vault.was_asked()
    listed = _run("ansible-inventory", "--list")
    assert listed.returncode == 0, listed.stderr
    assert up.host.instance_id in listed.stdout
    assert vault.was_asked()
    backend = f"-backend-config=bucket={bucket}"
    initialised = _run("terraform", "-chdir=terraform", "init", "-input=false", "-reconfigure", backend)
    assert initialised.returncode == 0, initialised.stderr
    assert vault.was_asked()
    plan = _plan()
    assert plan.returncode == 0, plan.stdout + plan.stderr
    assert vault.was_asked()
    _nowhere(up, vault, listed.stdout + initialised.stdout + plan.stdout + plan.stderr)


def test_second_factor_missing(vault):
    """The vault's own words reach the person who typed, from each of the tools."""
    vault.answer("echo 'aws-vault: error: MFA token is missing' >&2; exit 1")
    plan = _plan()
    assert plan.returncode == 1
    assert "MFA token is missing" in plan.stderr
    listed = _run("ansible-inventory", "--list")
    assert "MFA token is missing" in listed.stdout + listed.stderr


def _nowhere(up, vault: Vault, output: str) -> None:
    """No key in the output, in the states, the logs or any other file of the state folder."""
    states = _run("terraform", "-chdir=terraform", "state", "pull").stdout
    assert '"version": 4' in states
    texts = {}
    for path in (path for folder in (up.target.state, ROOT / "terraform") for path in folder.rglob("*")):
        # What runs beside this test makes and removes files.
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and path.stat().st_size < 8 << 20:
                texts[str(path)] = path.read_bytes()
    assert any(path.endswith(".log") for path in texts)
    for secret in vault.secrets:
        assert secret not in output + states
        assert [path for path, content in texts.items() if secret.encode() in content] == []
