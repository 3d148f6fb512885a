"""A user's settings: each error is one line with the fix; valid ones reach the tools."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from cli import settings, targets
from cli.names import Names
from cli.targets import Target, target
from common.errors import CommandError
from common.paths import ROOT

Given = Callable[..., Target]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    """Writes the settings of the sandbox; gives the target."""
    monkeypatch.setattr(settings, "FOLDER", tmp_path)

    def write(text: str, name: str = "sandbox", environment: str = "") -> Target:
        kind, called = name.removesuffix(f"-{environment}"), Names(environment=environment)
        made = dataclasses.replace(target(), name=kind, state=tmp_path / "state", names=called)
        (tmp_path / f"{name}.yml").write_text(text)
        return made

    return write


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "ansible: {stack_api_replica: 3}",
            "stack_api_replica is not a known Ansible variable: did you mean stack_api_replicas?",
        ),
        ("ansible: {stack_api_replicas: '3'}", "stack_api_replicas must be a whole number, not text ('3')"),
        (
            "ansible: {stack_api_replicas: true}",
            "stack_api_replicas must be a whole number, not a truth value (True)",
        ),
        ("ansible: {grafana_enabled: 'no'}", "grafana_enabled must be true or false, not text ('no')"),
        ("ansible: {stack_trusted_proxies: 10.0.0.0/8}", "stack_trusted_proxies must be a list, not text"),
        (
            "ansible: {stack_trusted_proxies: [1]}",
            "stack_trusted_proxies: entry 1 must be text, not a whole number (1)",
        ),
        (
            "ansible: {xyzzy: 1}",
            "xyzzy is not a known Ansible variable: settings/example.yml says where they are documented",
        ),
        (
            "terraform: {instance_typ: t3.small}",
            "instance_typ is not a known Terraform variable: did you mean instance_type?",
        ),
        ("terraform: {data_volume_size: 8 GiB}", "data_volume_size must be a number, not text ('8 GiB')"),
        ("terraform: {vpc_cidr: 10.0.0.0/24}", "vpc_cidr cannot be set here: set SANDBOX_SUBNET"),
        ("terraform: {project: blog}", "project cannot be set here: set ENV or PROJECT"),
        ("ansible: {project_name: blog}", "project_name cannot be set here: set ENV or PROJECT"),
        (
            "bootstrap: {image_cuont: 3}",
            "image_cuont is not a known variable of terraform/bootstrap: did you mean image_count?",
        ),
        ("anisble: {}", "anisble is not a known section: did you mean ansible?"),
        ("ansible: 3", "ansible must be a dictionary of variables"),
        ("- a", "must contain `ansible:` and `terraform:`"),
        ("a: [", "is not YAML"),
        (
            "bootstrap: {image_count: 3}\nansible: {}\nbootstrap: {}",
            'is not YAML: bootstrap is there twice in "<unicode string>", line 1, column 1',
        ),
        ("ansible: {alertmanager_slack: {chanel: x}}", "alertmanager_slack has no chanel: did you mean channel?"),
    ],
)
def test_refused(given: Given, text: str, line: str) -> None:
    chosen = given(text)
    with pytest.raises(CommandError) as refused:
        settings.read(chosen)
    assert line in str(refused.value) and "\n" not in str(refused.value)


KEY = "ssh-ed25519 AAAA me"
ON_AWS = f"terraform:\n  admin_cidrs: [203.0.113.7/32]\n  ssh_public_key: {KEY}\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout without files of one's own, with the variables of this one."""
    # They are read once.
    settings.terraform_variables(), settings.terraform_variables("bootstrap"), settings.ansible_variables()
    for module in (settings, targets):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "terraform" / "bootstrap").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(("environment", "name"), [("", "aws"), ("staging", "aws-staging")])
def test_all_of_an_environment_stands_in_one_file(given: Given, root: Path, environment: str, name: str) -> None:
    chosen = given(f"{ON_AWS}bootstrap: {{image_count: 9}}\n", name, environment)
    settings.require(chosen)
    assert json.loads(chosen.tfvars.read_text())["admin_cidrs"] == ["203.0.113.7/32"]
    assert json.loads(chosen.bootstrap_tfvars.read_text()) == {"image_count": 9}


def test_what_every_site_needs_is_asked_for(given: Given, root: Path) -> None:
    with pytest.raises(CommandError, match=r"aws-staging.yml lacks admin_cidrs and ssh_public_key under `terraform:`"):
        settings.require(given("terraform: {instance_type: t3.small}", "aws-staging", "staging"))


@pytest.mark.parametrize(
    "file", ["terraform.tfvars", "aws.tfvars", "own.auto.tfvars.json", "bootstrap/terraform.tfvars"]
)
@pytest.mark.parametrize("name", ["sandbox", "aws-staging"])
def test_variables_that_would_reach_every_environment(given: Given, root: Path, file: str, name: str) -> None:
    chosen = given("", name, "staging")
    settings.read(chosen)
    (root / "terraform" / file).write_text("{}")
    with pytest.raises(CommandError, match=f"terraform/{file} would apply to every environment: move its variables to"):
        settings.read(chosen)


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("host_vars/site-1.yml", "stack_api_replica: 3", "known Ansible variable: did you mean stack_api_replicas?"),
        ("host_vars/site-1/own", "stack_api_replica: 3", "known Ansible variable: did you mean stack_api_replicas?"),
        ("group_vars/comentarios.yml", "stack_api_replica: 3", "known Ansible variable: did you mean"),
        ("host_vars/site-1.yml", "a: [", "is not YAML"),
        ("host_vars/site-1.yml", "ansible_port: 22\nstack_api_replicas: 3\nbase_packages: !vault |\n  00", ""),
        ("host_vars/site-1.yml", "$ANSIBLE_VAULT;1.1;AES256\n3031", ""),
        ("host_vars/site-1/.own.swp", "stack_api_replica: 3", ""),
        ("host_vars/site-1/README.md", "no variables", ""),
    ],
)
def test_variables_files_that_ansible_reads_by_itself(
    given: Given, root: Path, file: str, text: str, line: str
) -> None:
    """Their names are checked as those of the settings are: Ansible says nothing of one that is misspelt."""
    (root / "inventory" / file).parent.mkdir(parents=True)
    (root / "inventory" / file).write_text(text)
    with pytest.raises(CommandError, match=f"inventory/{file}.*{re.escape(line)}") if line else nullcontext():
        settings.read(given(""))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("aws: {profil: x}", "profil is not a known setting of the section aws: did you mean profile?"),
        ("aws: {region: Ireland}", "region must be a region such as eu-west-1, not text ('Ireland')"),
        (
            "aws: {account: 123456789012}",
            "account must be the 12 digits of an account in quotes, not a whole number",
        ),
        ("aws: {profile: --x}", "profile must be the name of a profile"),
    ],
)
def test_account_that_is_none(given: Given, text: str, line: str) -> None:
    with pytest.raises(CommandError) as refused:
        settings.aws(given(text, "aws"))
    assert line in str(refused.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("aws: {profile: staging}", "profile cannot be set here: the sandbox has an account of its own"),
        ("aws: {account: '123456789012'}", "account cannot be set here: the sandbox has an account of its own"),
        ("aws: {region: eu-west-9}", "the sandbox has no region eu-west-9: choose one of .*, eu-west-1, "),
    ],
)
def test_the_sandbox_is_no_account(given: Given, text: str, line: str) -> None:
    with pytest.raises(CommandError, match=line):
        settings.aws(given(text))


def test_region_of_the_sandbox(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings name it. The shell's is for an account of AWS, as its profile is."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    before = target()
    assert before.variables["AWS_REGION"] == "us-east-1"
    monkeypatch.setenv("ENV", "staging")
    ours = target()
    given("aws: {region: eu-west-1}", "sandbox-staging", "staging")
    theirs = target()
    assert theirs.variables["AWS_REGION"] == theirs.variables["AWS_DEFAULT_REGION"] == "eu-west-1"
    assert theirs.variables["TF_VAR_iam_prefix"] == "staging-comentarios-eu-west-1"
    # The same name in another region is another environment.
    assert ours.state == before.state / f"{before.state.name}-staging" and theirs.state == Path(
        f"{ours.state}@eu-west-1"
    )


def test_no_file_is_no_settings(given: Given) -> None:
    chosen = dataclasses.replace(given("", "other"), name="sandbox")
    settings.apply(chosen)
    assert yaml.safe_load((chosen.state / "settings" / "group_vars" / "all.yml").read_text()) == {}


def test_settings_are_the_last_inventory(given: Given, capsys: pytest.CaptureFixture[str]) -> None:
    """Ansible lets a later inventory win, whatever the names of the files in it."""
    chosen = given("ansible:\n  stack_api_replicas: 3\n  grafana_enabled: '{{ false }}'\n")
    settings.apply(chosen)
    written = yaml.safe_load((chosen.state / "settings" / "group_vars" / "all.yml").read_text())
    assert written == {"stack_api_replicas": 3, "grafana_enabled": "{{ false }}"}
    assert capsys.readouterr().out.endswith(": stack_api_replicas, grafana_enabled\n")
    assert target().variables["ANSIBLE_INVENTORY"].split(",")[-1].endswith("/settings")


def test_parameters_that_settings_name_are_required(given: Given) -> None:
    """The role's own example of a webhook, say: role parameters tells which are missing, before anything changes."""
    chosen = given(
        "ansible:\n"
        "  alertmanager_webhooks:\n"
        "    - url: https://alerts.example.com/hook\n"
        "      token: \"{{ parameters_values['/comentarios/alertmanager/hook_token'] }}\"\n"
        "  alertmanager_watchdog_url: '{{ parameters_values [ \"/comentarios/watchdog\" ] }}'\n"
    )
    settings.apply(chosen)
    written = yaml.safe_load((chosen.state / "settings" / "group_vars" / "all.yml").read_text())
    assert written["settings_parameters"] == ["/comentarios/alertmanager/hook_token", "/comentarios/watchdog"]


def test_example_is_right(given: Given, root: Path) -> None:
    text = settings.EXAMPLE.read_text()
    # What is commented out, too.
    plain = re.sub(r"^  # (?=\w+: )", "  ", text.replace("bootstrap: {}", "bootstrap:"), flags=re.M)
    made = settings.read(given(plain, "aws"))
    assert made.ansible["stack_client_rate"] == 100 and made.terraform["data_volume_size"] == 4
    assert made.terraform["admin_cidrs"] and made.bootstrap["github_repository"]
    aws = settings.aws(given(re.sub(r"^# (?=aws:|  \w+: )", "", text, flags=re.M), "aws"))
    assert set(aws) == set(settings.AWS)
    # The sandbox's copy is right as it stands.
    settings.read(given(text))


def test_settings_of_the_document_are_right(given: Given, root: Path, tmp_path: Path) -> None:
    """As the commands of docs/aws.md write them, for an arm64 laptop, too."""
    document = (ROOT / "docs" / "aws.md").read_text()
    commands = re.findall(r"^cat >>? settings/aws\.yml <<EOF\n.*?^EOF$", document, re.MULTILINE | re.DOTALL)
    (tmp_path / "settings").mkdir()
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text(f"{KEY}\n")
    # What the two programs print, in their place.
    stand_ins = "curl() { echo 203.0.113.7; }\naws() { echo 012345678901; }"
    environment = {**os.environ, "HOME": str(tmp_path), "AWS_PROFILE": "comentarios-tools", "AWS_REGION": "eu-west-1"}
    script = "\n".join(["set -e", stand_ins, *commands])
    subprocess.run(["bash"], input=script, text=True, cwd=tmp_path, env=environment, check=True)
    chosen = given((tmp_path / "settings" / "aws.yml").read_text(), "aws")
    settings.require(chosen)
    assert settings.read(chosen) == settings.Settings(
        terraform={"admin_cidrs": ["203.0.113.7/32"], "ssh_public_key": KEY, "instance_type": "t4g.small"},
        bootstrap={"instance_types": ["t4g.small"]},
        aws={"profile": "comentarios-tools", "region": "eu-west-1", "account": "012345678901"},
    )


def test_every_variable_of_terraform_is_known() -> None:
    names = settings.terraform_variables()
    assert {"parked", "egress_ports", "certificate_arn"} <= set(names) and set(settings.OWN) | {
        "project",
        "iam_prefix",
    } <= set(names)
    every = [*names.values(), *settings.terraform_variables("bootstrap").values()]
    assert all(one["type"] in settings.TYPES for one in every)
    assert {name for name, one in names.items() if one["required"]} == {"admin_cidrs", "ssh_public_key"}
