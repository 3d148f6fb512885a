"""A person's own settings: each fault is one line that says what is right; and what becomes of the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cli import settings
from cli.targets import Target, target
from common.errors import CommandError

Given = Callable[..., Target]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    """Writes the settings of the sandbox; gives the target."""
    monkeypatch.setattr(settings, "FOLDER", tmp_path)

    def write(text: str, name: str = "sandbox") -> Target:
        (tmp_path / f"{name}.yml").write_text(text)
        return dataclasses.replace(target(), name=name, state=tmp_path / "state")

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
        ("anisble: {}", "anisble is not a known section: did you mean ansible?"),
        ("ansible: 3", "ansible must be a dictionary of variables"),
        ("- a", "must contain `ansible:` and `terraform:`"),
        ("a: [", "is not YAML"),
    ],
)
def test_refused(given: Given, text: str, line: str) -> None:
    chosen = given(text)
    with pytest.raises(CommandError) as refused:
        settings.read(chosen)
    assert line in str(refused.value) and "\n" not in str(refused.value)


def test_terraform_of_aws_has_its_own_file(given: Given) -> None:
    with pytest.raises(CommandError, match=r"terraform/aws\.tfvars"):
        settings.read(given("terraform: {instance_type: t3.small}", "aws"))


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


def test_example_is_right(given: Given) -> None:
    text = settings.EXAMPLE.read_text()
    # What is commented out, too.
    made = settings.read(given(text.replace("  # ", "  ")))
    assert made.ansible["stack_client_rate"] == 100 and made.terraform["data_volume_size"] == 4


def test_every_variable_of_terraform_is_known() -> None:
    names = settings.terraform_variables()
    assert {"parked", "egress_ports", "certificate_arn"} <= set(names) and set(settings.OWN) <= set(names)
    assert all(one["type"] in settings.TYPES for one in names.values())
