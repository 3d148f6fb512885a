"""Where `TARGET=aws` acts: in the region that anything names, and never on the sandbox by mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.targets import target
from common.errors import CommandError
from common.paths import ROOT


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ENDPOINT_URL", "COMENTARIOS_STATE"):
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
