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
        calls, program = tmp_path / "calls", tmp_path / "terraform"
        calls.write_text("")
        program.write_text(STANDIN.format(calls=calls, bootstrap=bootstrap, host=host))
        program.chmod(0o755)
        (tmp_path / "sandbox.tfvars.json").write_text("{}")
        monkeypatch.setattr(terraform, "bucket_name", lambda _: "bucket")
        monkeypatch.setattr(terraform, "_bucket_exists", lambda *_: True)
        monkeypatch.setattr(terraform, "write_cli_configuration", lambda: None)
        chosen = dataclasses.replace(target(), state=tmp_path)
        chosen.variables["PATH"] = f"{tmp_path}:{chosen.variables['PATH']}"
        monkeypatch.setenv("PATH", chosen.variables["PATH"])
        terraform.apply(chosen)
        applied = [line.split()[0] for line in calls.read_text().splitlines() if " apply " in line]
        return [folder.rpartition("/")[2] for folder in applied]

    return run


def test_nothing_differs(answers: Answers) -> None:
    assert answers("exit 0", "exit 0") == []


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
