"""Names of environments: the unnamed one's never change, and no two environments share one."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from cli import names, up
from cli.names import Names
from cli.targets import Target, target
from cli.terraform import BOOTSTRAP, HOST
from common.config import Config
from common.errors import CommandError
from common.paths import ROOT

EVERY = [Names(project, environment) for project in ("comentarios", "blog") for environment in ("", "staging", "qa")]


def test_the_unnamed_environment_has_the_names_of_before() -> None:
    one = names.names({})
    assert (one.name, one.suffix, one.given(), one.iam("eu-west-1")) == ("comentarios", "", "", "comentarios")
    assert one.state_bucket("123456789012", "eu-west-1") == "comentarios-123456789012-eu-west-1-state"
    assert (one.repository, one.parameter("grafana/x")) == ("comentarios-api", "/comentarios/grafana/x")
    variables = one.variables("eu-west-1")
    assert variables["TF_VAR_project"] == variables["TF_VAR_iam_prefix"] == "comentarios"
    assert variables["TF_VAR_github_environment"] == "production"


def test_a_named_environment() -> None:
    one = names.names({"ENV": "staging", "PROJECT": "blog"})
    assert (one.name, one.suffix, one.given()) == ("staging-blog", "-staging.blog", "ENV=staging PROJECT=blog")
    assert one.iam("eu-west-1") == "staging-blog-eu-west-1"
    assert one.variables(None).keys() >= {"TF_VAR_project"} and "TF_VAR_iam_prefix" not in one.variables(None)
    assert one.variables("eu-west-1")["TF_VAR_github_environment"] == "staging"


@pytest.mark.parametrize("attribute", ["name", "suffix", "repository"])
def test_nothing_is_shared(attribute: str) -> None:
    found = [getattr(one, attribute) for one in EVERY]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(("one", "other"), list(itertools.permutations([f"{one.name}-" for one in EVERY], 2)))
def test_no_policys_pattern_matches_anothers_names(one: str, other: str) -> None:
    """The policies end in `<name>-*` for alarms and topics."""
    assert not other.startswith(one)


def test_a_named_environment_has_another_name_in_iam_in_each_region() -> None:
    regions = ("us-east-1", "eu-west-1", "ap-southeast-2")
    found = [one.iam(region) for one in EVERY if one.environment for region in regions]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"ENV": "production12", "PROJECT": "comentarios-of-alice"}, "is longer than 28 characters"),
        ({"ENV": "aws"}, "ENV=aws: AWS reserves names that begin with aws"),
        ({"ENV": "internal"}, "begin with internal-"),
        ({"PROJECT": "sg-site"}, "begin with sg-"),
        ({"ENV": "amzn", "PROJECT": "s3-demo-x"}, "begin with amzn-s3-demo-"),
    ],
)
def test_refused(given: dict[str, str], line: str) -> None:
    with pytest.raises(CommandError, match=line):
        names.names(given)


@pytest.mark.parametrize("folder", [HOST, BOOTSTRAP])
def test_terraform_refuses_the_same(folder: Path) -> None:
    text = (folder / "names.tf").read_text()
    assert f"^({names.RESERVED})|--" in text
    assert f"{{1,{names.MAX_LENGTH - 2}}}[a-z0-9]$" in text


def test_state_of_an_environment_of_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    unnamed = target()
    monkeypatch.setenv("ENV", "staging")
    staging = target()
    assert staging.state == unnamed.state / f"{unnamed.state.name}-staging"
    for name in (
        "TF_DATA_DIR",
        "TF_CLI_ARGS_plan",
        "ANSIBLE_PRIVATE_KEY_FILE",
        "COMENTARIOS_STATE",
        "COMENTARIOS_NAME",
    ):
        assert staging.variables[name] != unnamed.variables[name]
    # The sandbox itself is one.
    assert staging.variables["AWS_ENDPOINT_URL"] == unnamed.variables["AWS_ENDPOINT_URL"]
    assert str(Config().state / "inventory") in staging.variables["ANSIBLE_INVENTORY"]


def test_networks_of_the_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is another's, none has the addresses of the unnamed one's hosts, and each keeps its own."""
    networks: dict[str, str] = {}
    monkeypatch.setattr(up, "_networks", lambda _: dict(networks))
    monkeypatch.setenv("SANDBOX_SUBNET", "10.83.0.0/24")
    for number in range(6):
        # Three of them have one name, in three regions.
        called = Names(environment=f"env{max(number, 2)}")
        one = Target("sandbox", ROOT, {"AWS_REGION": f"eu-west-{number}"}, names=called)
        networks[up._place(one)] = up._vpc(one, Config())
        assert up._vpc(one, Config()) == networks[up._place(one)]
    assert len(set(networks.values())) == 6 and not {"10.83.0.0/27", "10.83.0.128/27"} & set(networks.values())
    with pytest.raises(CommandError, match="has no room for last-comentarios"):
        up._vpc(Target("sandbox", ROOT, {"AWS_REGION": "eu-west-1"}, names=Names(environment="last")), Config())
    assert up._vpc(Target("sandbox", ROOT, {}), Config()) == "10.83.0.0/24"


def test_everything_in_iam_has_its_prefix() -> None:
    """IAM has no regions: a name with the project alone is another region's, too."""
    for folder in (HOST, BOOTSTRAP):
        for file in folder.glob("*.tf"):
            for kind, block in re.findall(
                r'^resource "(aws_iam_\w+)" "\w+" \{\n(.*?)^\}', file.read_text(), re.M | re.S
            ):
                for name in re.findall(r"^  name +=\s+(.*)$", block, re.M):
                    assert name.startswith('"${local.iam_prefix}-') or name.startswith("aws_iam"), (file, kind, name)
