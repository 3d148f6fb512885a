"""What `make up` applies, by the answers of a fake Terraform."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import terraform
from cli.targets import target
from common.errors import CommandError

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
        "terraform/bootstrap: unchanged: only an administrator has access; terraform: changes"
        in capsys.readouterr().out
    )


RULES = "module.state.aws_s3_bucket_lifecycle_configuration.this"


@pytest.mark.parametrize(
    ("lines", "may"),
    [
        ([f"{RULES}: Creating..."], False),
        ([f"{RULES}: Creating...", f"{RULES}: Still creating... [10s elapsed]"], True),
        (["aws_ecr_repository.api: Creating...", f"{RULES}: Still creating... [10s elapsed]"], False),
        (["aws_iam_policy.one: Modifying... [id=1]", f"{RULES}: Still modifying... [10s elapsed]"], False),
        (
            [
                "\x1b[1maws_ecr_repository.api: Creating...\x1b[0m",
                "\x1b[1maws_ecr_repository.api: Creation complete after 1s [id=comentarios-api]\x1b[0m",
                f"\x1b[1m{RULES}: Still creating... [10s elapsed]\x1b[0m",
            ],
            True,
        ),
    ],
)
def test_host_may_begin(lines: list[str], may: bool) -> None:
    """When nothing is left of the bootstrap but what the host does not need."""
    said: list[bool] = []
    each = terraform._follow(None, lambda: said.append(True))
    for line in lines:
        each(line)
    assert bool(said) is may


def test_host_begins_while_the_bootstrap_waits() -> None:
    order: list[str] = []
    begun = threading.Event()

    def bootstrap(then: Callable[[], None]) -> None:
        then()
        assert begun.wait(10)
        order.append("bootstrap")

    def host() -> None:
        order.append("host")
        begun.set()

    terraform._overlapping(bootstrap, host)
    assert order == ["host", "bootstrap"]


@pytest.mark.parametrize("says_so", [True, False])
def test_either_may_fail(says_so: bool) -> None:
    """A bootstrap that fails at once has no host after it; what either of them raises is raised."""
    made: list[str] = []

    def bootstrap(then: Callable[[], None]) -> None:
        if not says_so:
            raise CommandError("bootstrap")
        then()
        made.append("bootstrap")

    def host() -> None:
        raise CommandError("host")

    with pytest.raises(CommandError, match="host" if says_so else "bootstrap"):
        terraform._overlapping(bootstrap, host)
    assert made == (["bootstrap"] if says_so else [])
