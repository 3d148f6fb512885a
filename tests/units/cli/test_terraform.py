"""What `make up` applies, by what Terraform answers: a stand-in on the PATH, as nothing here has AWS's permissions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import terraform
from cli.targets import target

Answers = Callable[[str, str], list[str]]
DENIED = "Error acquiring the state lock: api error AccessDenied: not authorized to perform: s3:PutObject"
STANDIN = """#!/bin/sh
echo "$@" >> {calls}
case "$*" in
*bootstrap*plan*) {bootstrap} ;;
*plan*) {host} ;;
esac
"""


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    """Runs `terraform.apply` with Terraform's answers to both plans; gives the folders that were applied."""

    def run(bootstrap: str, host: str) -> list[str]:
        calls, program = tmp_path / "calls", tmp_path / "bin" / "terraform"
        program.parent.mkdir(exist_ok=True)
        calls.write_text("")
        (tmp_path / "terraform" / "bootstrap").mkdir(parents=True, exist_ok=True)
        monkeypatch.setattr(terraform, "ROOT", tmp_path)
        monkeypatch.setattr(terraform, "HOST", tmp_path / "terraform")
        monkeypatch.setattr(terraform, "BOOTSTRAP", tmp_path / "terraform" / "bootstrap")
        program.write_text(STANDIN.format(calls=calls, bootstrap=bootstrap, host=host))
        program.chmod(0o755)
        (tmp_path / "sandbox.tfvars.json").write_text("{}")
        monkeypatch.setattr(terraform, "bucket_name", lambda _: "bucket")
        monkeypatch.setattr(terraform, "bucket_exists", lambda *_: True)
        monkeypatch.setattr(terraform, "write_cli_configuration", lambda: None)
        chosen = dataclasses.replace(target(), state=tmp_path)
        chosen.variables["PATH"] = f"{program.parent}:{chosen.variables['PATH']}"
        monkeypatch.setenv("PATH", chosen.variables["PATH"])
        terraform.apply(chosen)
        applied = [line.split()[0] for line in calls.read_text().splitlines() if " apply " in line]
        return [folder.rpartition("/")[2] for folder in applied]

    return run


def inits(tmp_path: Path) -> int:
    return sum(" init " in line for line in (tmp_path / "calls").read_text().splitlines())


def test_nothing_differs(answers: Answers, tmp_path: Path) -> None:
    """Each folder is initialised once for what is in it."""
    assert answers("exit 0", "exit 0") == [] and inits(tmp_path) == 2
    assert answers("exit 0", "exit 0") == [] and inits(tmp_path) == 0
    (tmp_path / "terraform" / "versions.tf").write_text("terraform {}")
    assert answers("exit 0", "exit 0") == [] and inits(tmp_path) == 1


def test_initialised_no_more(answers: Answers, tmp_path: Path) -> None:
    """The provider was moved since: a plan that fails is tried again after another `init`."""
    answers("exit 0", "exit 0")
    failed = tmp_path / "failed"
    once = f"[ -e {failed} ] || {{ touch {failed}; exit 1; }}"
    assert answers(once, "exit 0") == [] and inits(tmp_path) == 1


def test_one_folder_differs(answers: Answers) -> None:
    assert answers("exit 0", "exit 2") == ["terraform"]
    # What bootstrap changes may change the host's plan.
    assert answers("exit 2", "exit 0") == ["bootstrap", "terraform"]


def test_operator_may_not_look_at_bootstrap(answers: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of an administrator's is touched, and the host is the operator's all the same."""
    assert answers(f"echo '{DENIED}' >&2; exit 1", "exit 2") == ["terraform"]
    assert (
        "terraform/bootstrap: left to an administrator, AWS denies access to it; terraform: changes"
        in capsys.readouterr().out
    )
