"""`TARGET=aws` acts in the configured region, and never on the sandbox by mistake."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from cli import settings, terraform
from cli.targets import target
from common.errors import CommandError
from common.paths import ROOT


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "COMENTARIOS_STATE", "ENV"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "config"
    config.write_text("[profile ops]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("TARGET", "aws")


def test_a_region_that_only_the_profile_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "ops")
    assert target().variables["AWS_REGION"] == "eu-central-1"


def test_the_environment_comes_before_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "ops")
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    assert target().variables["AWS_REGION"] == "us-west-2"


@pytest.mark.parametrize("profile", ["", "missing"])
def test_no_region_at_all_is_told_by_who_needs_it(monkeypatch: pytest.MonkeyPatch, profile: str) -> None:
    if profile:
        monkeypatch.setenv("AWS_PROFILE", profile)
    assert "AWS_REGION" not in target().variables


def test_the_sandboxes_shell_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMENTARIOS_STATE", str(ROOT / ".state" / "sandbox"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://10.83.0.1:4566")
    with pytest.raises(CommandError, match="this shell is the sandbox's"):
        target()
    monkeypatch.setenv("COMENTARIOS_STATE", str(ROOT / ".state" / "aws"))
    assert target().name == "aws"


@pytest.fixture
def staging(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ENV", "staging")
    monkeypatch.setattr(settings, "FOLDER", tmp_path)
    own = "aws: {profile: staging, region: eu-west-1, account: '210987654321'}\n"
    (tmp_path / "aws-staging.yml").write_text(own)


def test_an_environment_names_its_account(monkeypatch: pytest.MonkeyPatch, staging: None) -> None:
    """Whatever the shell has been used for before."""
    monkeypatch.setenv("AWS_PROFILE", "ops")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPRODUCTION")
    found = target()
    assert found.state == ROOT / ".state" / "aws-staging" and found.account == "210987654321"
    wanted = {"AWS_PROFILE": "staging", "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": ""}
    wanted |= {"COMENTARIOS_NAME": "staging-comentarios", "TF_VAR_iam_prefix": "staging-comentarios-eu-west-1"}
    assert {name: found.variables[name] for name in wanted} == wanted


def test_clients_take_the_profile_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, staging: None
) -> None:
    """They are asked in this process, whose own environment still has the shell's profile and key."""
    keys = tmp_path / "credentials"
    keys.write_text("[staging]\naws_access_key_id = AKIASTAGING\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(keys))
    monkeypatch.setenv("AWS_PROFILE", "ops")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPRODUCTION")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    made = terraform.client(target(), "sts")
    assert made._request_signer._credentials.access_key == "AKIASTAGING"


def test_another_account_is_refused(monkeypatch: pytest.MonkeyPatch, staging: None) -> None:
    class Sts:
        meta = SimpleNamespace(region_name="eu-west-1")

        def get_caller_identity(self) -> dict[str, str]:
            return {"Account": "123456789012"}

    monkeypatch.setattr(terraform, "client", lambda *_: Sts())
    with pytest.raises(CommandError, match=r"belong to AWS account 123456789012, but .*aws-staging.yml names 2109"):
        terraform.account(target())


def test_another_environments_shell_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMENTARIOS_STATE", str(ROOT / ".state" / "aws"))
    assert target().names.name == "comentarios"
    monkeypatch.setenv("ENV", "staging")
    with pytest.raises(CommandError, match=r"this shell is for another environment \(aws\)"):
        target()
