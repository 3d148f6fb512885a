"""What `make up` runs, what a host's removal removes, and what `make clean` leaves."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cli import host, image, people, release, sandbox, settings, targets, terraform, up
from cli.names import Names
from cli.targets import Target
from common import engine
from common.errors import CommandError
from common.paths import ROOT

TREE = "aaaaaaaaaaaa"


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target("aws", tmp_path, {})


@pytest.mark.parametrize(
    ("live", "tag", "expected", "said"),
    [
        ({"one": "", "two": ""}, "", "ensured", ""),
        ({"one": "bbb"}, "", "", f"▸ image: bbb stays live; the working tree is {TREE}: `make release` rolls it out"),
        ({"one": TREE}, "", "", f"▸ image: {TREE} stays live"),
        ({"one": "bbb", "two": "ccc"}, "", "", "bbb, ccc stays live"),
        # A host that is new runs what the others do.
        ({"one": "", "two": "ccc"}, "", "ccc", "ccc stays live"),
        ({"one": "bbb"}, "ddd", "ensured", ""),
    ],
)
def test_the_live_image_stays(
    target: Target,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    live: dict[str, str],
    tag: str,
    expected: str,
    said: str,
) -> None:
    monkeypatch.setattr(host, "wait_for_ssh", lambda _: [])
    monkeypatch.setattr(release, "live", lambda _: live)
    monkeypatch.setattr(image, "tree_tag", lambda: TREE)
    monkeypatch.setattr(image, "ensure_pushed", lambda *_, **__: "ensured")
    assert up._tag(target, tag, rebuild=False) == expected
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("delete", "commands"),
    [
        ("", [("apply", "-var", "parked=true")]),
        # A host that is parked is not made anew to be removed.
        (
            "yes",
            [
                ("apply", "-var", "parked=true", "-var", "delete_data=true"),
                ("destroy", "-var", "parked=true", "-var", "delete_data=true"),
            ],
        ),
    ],
)
def test_what_goes_with_the_host(
    target: Target, monkeypatch: pytest.MonkeyPatch, delete: str, commands: list[tuple[str, ...]]
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(terraform, "prepare", lambda _: None)
    monkeypatch.setattr(terraform, "bucket_name", lambda _: "bucket")
    monkeypatch.setattr(terraform, "init", lambda *_: None)
    monkeypatch.setattr(up, "confirm", lambda *_: None)
    monkeypatch.setattr(terraform, "run", lambda _, __, *arguments, shown: ran.append(arguments))
    up._down_on_aws(target, delete == "yes")
    quiet = ("-input=false", "-auto-approve")
    assert ran == [(command, *quiet, *rest) for command, *rest in commands]


def test_clean_is_not_for_one_environment(tmp_path: Path) -> None:
    """The Makefile goes on with the state of all of them."""
    with pytest.raises(CommandError, match="removes all environments: run it without ENV=staging"):
        up.clean(Target("sandbox", tmp_path, {}, names=Names(environment="staging")), "")


@pytest.mark.parametrize(
    ("others", "delete", "refused"),
    [
        ({}, False, False),
        ({"staging-comentarios in us-east-1": ""}, False, True),
        ({"comentarios in eu-west-1": ""}, False, True),
        ({"staging-comentarios in us-east-1": ""}, True, False),
    ],
)
def test_the_sandbox_does_not_go_with_others_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: dict[str, str], delete: bool, refused: bool
) -> None:
    monkeypatch.setattr(terraform, "answers", lambda _: True)
    monkeypatch.setattr(up, "_networks", lambda _: {"comentarios in us-east-1": "10.83.0.0/24"} | others)
    here = Target("sandbox", tmp_path, {"AWS_REGION": "us-east-1"})
    also = f"also has {''.join(others)}:"
    with pytest.raises(CommandError, match=also) if refused else contextlib.nullcontext():
        up._refuse_others(here, delete)


@pytest.mark.parametrize(("delete", "refused"), [("", True), ("yes", False)])
def test_silence_of_the_apis_is_no_sandbox_without_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delete: str, refused: bool
) -> None:
    """After a reboot, say: another environment's comments would go with the sandbox, and nobody was told."""
    monkeypatch.setattr(terraform, "answers", lambda _: False)
    monkeypatch.setattr(host, "end_connections", lambda _: None)
    monkeypatch.setattr(engine, "answers", lambda: True)
    monkeypatch.setattr(engine, "stop", lambda: None)
    removed: list[str] = []
    monkeypatch.setattr(sandbox, "run", removed.append)
    here = Target("sandbox", tmp_path / "mine[1]", {"AWS_REGION": "us-east-1"})
    # Only asked for, never brought up.
    (here.state / "mine[1]-asked").mkdir(parents=True)
    staging = here.state / "mine[1]-staging"
    staging.mkdir()
    (staging / "sandbox.tfvars.json").touch()
    with pytest.raises(CommandError, match=r"also has mine\[1\]-staging:") if refused else contextlib.nullcontext():
        up.down(here, delete)
    assert removed == ([] if refused else ["down"])


def test_every_environment_goes_with_the_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its state here and Terraform's, but nothing of another sandbox whose folder's name begins alike."""
    monkeypatch.setenv("SANDBOX_STATE", str(tmp_path / "mine"))
    for name, value in (("HOST", tmp_path / "host"), ("BOOTSTRAP", tmp_path / "bootstrap")):
        monkeypatch.setattr(terraform, name, value)
    monkeypatch.setattr(engine, "answers", lambda: True)
    monkeypatch.setattr(engine, "stop", lambda: None)
    monkeypatch.setattr(host, "end_connections", lambda _: None)
    monkeypatch.setattr(terraform, "answers", lambda _: False)
    monkeypatch.setattr(sandbox, "run", lambda _: shutil.rmtree(tmp_path / "mine"))
    here, other = targets.target(), tmp_path / "mine-1"
    monkeypatch.setenv("ENV", "staging")
    staging = targets.target()
    kept = [other, *(tmp_path / one / ".terraform" / "mine-1" for one in ("host", "bootstrap"))]
    gone = [staging.state, *(tmp_path / one / ".terraform" / staging.state.name for one in ("host", "bootstrap"))]
    for folder in (*kept, *gone):
        folder.mkdir(parents=True)
    up.down(here, "yes")
    assert [one.exists() for one in gone] == [False] * 3 and all(one.exists() for one in kept)


def test_missing_settings_remove_nobody_from_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "FOLDER", tmp_path)
    joined: list[object] = []
    monkeypatch.setattr(people, "join", lambda *given: joined.append(given))
    there = Target("aws", tmp_path / "state", {}, names=Names(environment="staging"))
    with pytest.raises(CommandError, match="lacks admin_cidrs and ssh_public_key"):
        up._give_terraform_its_variables(there)
    assert not joined
    (tmp_path / "aws-staging.yml").write_text("terraform: {admin_cidrs: [], ssh_public_key: ssh-ed25519 AAAA me}\n")
    up._give_terraform_its_variables(there)
    assert joined


def test_clean_keeps_what_is_known_of_aws(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    kept, gone = tmp_path / ".state/aws-staging/bootstrap.tfstate", tmp_path / ".state/sandbox/keys.json"
    for file in (kept, gone, tmp_path / ".venv/bin/uv"):
        file.parent.mkdir(parents=True)
        file.write_text("x")
    (tmp_path / ".venv/bin/uv").chmod(0o755)
    clean = ["make", "--directory", str(tmp_path), "clean", "VERB=true"]
    subprocess.run(clean, capture_output=True, check=True)
    assert kept.read_text() == "x"
    assert not gone.parent.exists() and not (tmp_path / ".venv").exists()
    shutil.rmtree(kept.parent)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    shutil.copy("/bin/true", tmp_path / ".venv/bin/uv")
    subprocess.run(clean, capture_output=True, check=True)
    assert not (tmp_path / ".state").exists()


@pytest.mark.parametrize(
    ("kind", "engine", "refused"),
    [
        ("t3.small", "x86_64", ""),
        ("t4g.small", "arm64", ""),
        ("t4g.small", "x86_64", "t4g.small is arm64, and this machine's engine is x86_64: .* such as t3.small$"),
        ("t3.small", "arm64", "t3.small is x86_64, and this machine's engine is arm64: .* such as t4g.small$"),
        # Whatever it is: Terraform has a better word for it.
        ("t3.smal", "arm64", ""),
    ],
)
def test_instance_type_of_another_architecture(
    target: Target, monkeypatch: pytest.MonkeyPatch, kind: str, engine: str, refused: str
) -> None:
    """Refused before Terraform makes an instance of it."""

    class Client:
        def describe_instance_types(self, InstanceTypes: list[str]) -> dict[str, Any]:
            known = {"t3.small": ["x86_64"], "t4g.small": ["arm64"]}.get(InstanceTypes[0])
            if known is None:
                raise ClientError({"Error": {"Code": "InvalidInstanceType"}}, "DescribeInstanceTypes")
            return {"InstanceTypes": [{"ProcessorInfo": {"SupportedArchitectures": known}}]}

    monkeypatch.setattr("common.architecture.of_engine", lambda: engine)
    monkeypatch.setattr(terraform, "client", lambda *_: Client())
    if not refused:
        up._fits(target, kind)
        return
    with pytest.raises(CommandError, match=refused):
        up._fits(target, kind)


def test_plan_is_of_the_settings_as_they_are_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the sandbox, too, where Terraform's variables are written with those of the sandbox."""
    monkeypatch.setenv("SANDBOX_STATE", str(tmp_path / "mine"))
    monkeypatch.setattr(settings, "FOLDER", tmp_path)
    (tmp_path / "sandbox.yml").write_text("terraform: {instance_type: t3.large}\n")
    here = targets.target()
    planned: list[str] = []
    monkeypatch.setattr("common.architecture.of_engine", lambda: "x86_64")
    monkeypatch.setattr(up, "_fits", lambda *_: None)
    monkeypatch.setattr(people, "join", lambda *_: None)
    for name in ("prepare", "init", "bucket_name"):
        monkeypatch.setattr(terraform, name, lambda *_: "")

    def run(*_: object) -> None:
        planned.append(json.loads(here.tfvars.read_text())["instance_type"])

    monkeypatch.setattr(terraform, "run", run)
    monkeypatch.setattr(host, "wait_for_ssh", lambda _: [])
    monkeypatch.setattr(release, "live", lambda _: {})
    monkeypatch.setattr(image, "tree_tag", lambda: TREE)
    monkeypatch.setattr("subprocess.run", lambda *_, **__: subprocess.CompletedProcess("", 0))
    (here.state / "ssh").mkdir(parents=True)
    for file in ("id_ed25519", "id_ed25519.pub"):
        (here.state / "ssh" / file).touch()
    assert up.plan(here) == 0 and planned == ["t3.large"]
