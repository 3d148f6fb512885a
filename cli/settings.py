"""A user's own settings of an environment, in one file for all tools. They override the project's variables.

The file is ``settings/<target>.yml``. An environment or a project with a name has it after the target, as in
``settings/aws-staging.yml``.

Ansible reads the files in group_vars in the order of their names, so a user's file there might be overridden. Instead,
the settings become a second inventory in the state folder, which Ansible reads last.
"""

import json
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cli import people
from cli.targets import Target, exports
from common import files
from common.config import regions
from common.errors import CommandError, near
from common.paths import ROOT
from common.progress import say

FOLDER = ROOT / "settings"
EXAMPLE = FOLDER / "example.yml"
# Types in argument specs and in Terraform → how to call them, and the types that YAML gives.
TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "bool": ("true or false", (bool,)),
    "int": ("a whole number", (int,)),
    **dict.fromkeys(("float", "number"), ("a number", (int, float))),
    **dict.fromkeys(("dict", "object"), ("a dictionary", (dict,))),
    **dict.fromkeys(("list", "set"), ("a list", (list,))),
    **dict.fromkeys(("path", "str", "string"), ("text", (str,))),
}
# Files in inventory/ that Ansible reads by itself, none of which is ours, and their endings.
ANSIBLES, ENDINGS = ("host_vars/**/[!.]*", "group_vars/[!.]*"), {"", ".yml", ".yaml", ".json"}
PARAMETER = r"parameters_values\s*\[\s*['\"]([^'\"]+)['\"]\s*\]"
# Variables that the verbs set, and how their values are chosen: everywhere, and in the sandbox.
NAMES = {
    "iam_prefix": "ENV, PROJECT and the region determine it",
    "project": "set ENV or PROJECT",
    "project_name": "set ENV or PROJECT",
}
OWN = {
    "admin_cidrs": "the sandbox's own network",
    "ssh_address": "the sandbox's hosts have a private address only",
    "ssh_public_key": "the sandbox makes a key",
    "vpc_cidr": "set SANDBOX_SUBNET",
}


@dataclass(frozen=True)
class Settings:
    """A user's own variables: Ansible's, those of Terraform's two folders, and the account of AWS that they are for."""

    ansible: dict[str, Any] = field(default_factory=dict)
    terraform: dict[str, Any] = field(default_factory=dict)
    bootstrap: dict[str, Any] = field(default_factory=dict)
    aws: dict[str, str] = field(default_factory=dict)


class Loader(yaml.SafeLoader):
    """Refuses a name that is there twice, of which YAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names = [name.value for name, _ in node.value]
        for name, _ in node.value:
            if names.count(name.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{name.value} is there twice", name.start_mark)
        return super().construct_mapping(node, deep)


SECTIONS = tuple(one.name for one in fields(Settings))
# Section `aws`: the pattern of each value, and what it must be.
AWS = {
    "profile": (r"[^\s-]\S*", "the name of a profile of ~/.aws/config"),
    "region": (r"[a-z]{2}(-[a-z]+)+-[0-9]", "a region such as eu-west-1"),
    "account": (r"[0-9]{12}", "the 12 digits of an account in quotes"),
}


def path(target: Target) -> Path:
    return FOLDER / f"{target.name}{target.names.suffix}.yml"


def read(target: Target) -> Settings:
    """The checked settings of a target; empty if there is no file.

    Raises:
        CommandError: the file is not YAML, a name is unknown, or a value has the wrong type.
    """
    file, made = path(target), _sections(target)
    known: dict[str, tuple[Callable[[], dict[str, dict[str, Any]]], str]] = {
        "ansible": (ansible_variables, "Ansible variable"),
        "terraform": (terraform_variables, "Terraform variable"),
        "bootstrap": (lambda: terraform_variables("bootstrap"), "variable of terraform/bootstrap"),
    }
    for section, (variables, what) in known.items():
        for name, value in getattr(made, section).items():
            if reason := (NAMES | (OWN if target.is_sandbox and section == "terraform" else {})).get(name):
                raise CommandError(f"{shown(file)}: {name} cannot be set here: {reason}")
            _known(file, name, variables(), what)
            # Ansible evaluates a template later.
            if not isinstance(value, str) or "{{" not in value:
                _typed(f"{shown(file)}: {name}", value, variables()[name])
    _refuse_tfvars(file)
    _check_names()
    return made


def aws(target: Target) -> dict[str, str]:
    """The AWS account that an environment is for: ``profile``, ``region`` and ``account``, as far as they are given.

    Raises:
        CommandError: the file is not YAML, or one of them is unknown or not valid.
    """
    file, made = path(target), _sections(target).aws
    for name, value in made.items():
        _known(file, name, AWS, "setting of the section aws")
        if target.is_sandbox and name != "region":
            raise CommandError(f"{shown(file)}: {name} cannot be set here: the sandbox has an account of its own")
        pattern, words = AWS[name]
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise CommandError(f"{shown(file)}: {name} must be {words}, not {_shown(value)}")
        if target.is_sandbox and value not in (known := regions()):
            raise CommandError(f"{shown(file)}: the sandbox has no region {value}: choose one of {', '.join(known)}")
    return made


def _sections(target: Target) -> Settings:
    """The sections of the file; empty if there is no file."""
    file = path(target)
    given = _loaded(file, Loader) if file.exists() else {}
    if not isinstance(given, dict):
        raise CommandError(f"{shown(file)} must contain `ansible:` and `terraform:`, as in {shown(EXAMPLE)}")
    for section, values in given.items():
        _known(file, section, dict.fromkeys(SECTIONS), "section")
        if not isinstance(values or {}, dict):
            raise CommandError(f"{shown(file)}: {section} must be a dictionary of variables")
    return Settings(**{section: given.get(section) or {} for section in SECTIONS})


def _check_names() -> None:
    """Ansible would ignore a misspelt name in host_vars, and the roles check the values only.

    Raises:
        CommandError: a name is unknown.
    """
    for file in sorted(file for pattern in ANSIBLES for file in (ROOT / "inventory").glob(pattern)):
        # To this loader, what has a tag is plain text, and so is a file that ansible-vault has encrypted.
        given = _loaded(file, yaml.BaseLoader) if file.is_file() and file.suffix in ENDINGS else {}
        for name in given if isinstance(given, dict) else ():
            if not name.startswith("ansible_"):
                _known(file, name, ansible_variables(), "Ansible variable")


def _loaded(file: Path, loader: type[yaml.BaseLoader | yaml.SafeLoader]) -> Any:
    try:
        return yaml.load(file.read_text(), loader) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandError(f"{shown(file)} is not YAML: {' '.join(str(error).split())}") from None


def _refuse_tfvars(file: Path) -> None:
    """Terraform reads some variables files by itself, in every environment.

    Raises:
        CommandError: there is one; its variables belong in the settings.
    """
    for pattern in ("*.tfvars*", "bootstrap/*.tfvars*"):
        for found in sorted((ROOT / "terraform").glob(pattern)):
            raise CommandError(
                f"{shown(found)} would apply to every environment: move its variables to {shown(file)}, as in "
                f"{shown(EXAMPLE)}, and remove it"
            )


def apply(target: Target) -> None:
    """Writes the settings as the last inventory, and prints their names."""
    made = write(target)
    if names := [*made.ansible, *made.terraform, *made.bootstrap]:
        say(f"▸ your own settings ({shown(path(target))}): {', '.join(names)}")


def env(target: Target) -> None:
    """``make env``: shell lines for ``eval``."""
    write(target)
    say(exports(target))


def write(target: Target) -> Settings:
    """Writes what the tools read into the state folder, except Terraform's variables in the sandbox (cli/up.py)."""
    made, folder = read(target), target.state / "settings"
    files.write(folder / "hosts.yml", "all: {}\n")
    variables = made.ansible | ({"settings_parameters": named} if (named := _parameters(made.ansible)) else {})
    content = yaml.safe_dump(variables, sort_keys=True, allow_unicode=True)
    files.write(folder / "group_vars" / "all.yml", f"# Written by the verbs, from {shown(path(target))}.\n{content}")
    files.write(target.bootstrap_tfvars, json.dumps(made.bootstrap, indent=2))
    if not target.is_sandbox:
        values = people.merged(target, made.terraform) if made.terraform else {}
        files.write(target.tfvars, json.dumps(values, indent=2))
    return made


def _parameters(value: object) -> list[str]:
    """The parameters of SSM Parameter Store that values name: role parameters says so when one is not there."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return sorted({name for one in value for name in _parameters(one)})
    return re.findall(PARAMETER, value) if isinstance(value, str) else []


@cache
def ansible_variables() -> dict[str, dict[str, Any]]:
    """Every variable of the roles and the inventory, with its argument spec."""
    known: dict[str, dict[str, Any]] = {"ansible_user": {"type": "str"}}
    for file in sorted((ROOT / "inventory" / "group_vars" / "all").glob("*.yml")):
        known |= {name: {} for name in yaml.safe_load(file.read_text()) or {}}
    for file in sorted((ROOT / "roles").glob("*/meta/argument_specs.yml")):
        for entry in yaml.safe_load(file.read_text())["argument_specs"].values():
            known |= entry.get("options") or {}
    return known


@cache
def terraform_variables(folder: str = "") -> dict[str, dict[str, Any]]:
    """Every variable of terraform/, or of a folder in it, with its type: ``set(string)`` is ``set`` here."""
    text = "".join((ROOT / "terraform" / folder / name).read_text() for name in ("names.tf", "variables.tf"))
    found = re.findall(r'^variable "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
    kinds = {name: re.search(r"^  type\s*=\s*(\w+)", body, re.MULTILINE) for name, body in found}
    optional = {name for name, body in found if re.search(r"^  default\s*=", body, re.MULTILINE)}
    return {name: {"type": kind[1], "required": name not in optional} for name, kind in kinds.items() if kind}


def require(target: Target) -> Settings:
    """Writes the settings, and checks that every variable that Terraform requires on AWS is set.

    Raises:
        CommandError: the settings lack a variable.
    """
    made = write(target)
    lacking = [name for name, one in terraform_variables().items() if one["required"] and name not in made.terraform]
    if lacking and not target.is_sandbox:
        file = shown(path(target))
        raise CommandError(f"{file} lacks {' and '.join(lacking)} under `terraform:`; {shown(EXAMPLE)} shows them")
    return made


def _known(file: Path, name: object, known: dict[str, Any], what: str) -> None:
    if name in known:
        return
    help_ = near(name, known) or f"{shown(EXAMPLE)} says where they are documented"
    raise CommandError(f"{shown(file)}: {name} is not a known {what}: {help_}")


def _typed(where: str, value: Any, option: dict[str, Any]) -> None:
    words, types = TYPES.get(option.get("type", "raw"), ("", (object,)))
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types and object not in types):
        raise CommandError(f"{where} must be {words}, not {_shown(value)}")
    if option.get("choices") and value not in option["choices"]:
        raise CommandError(f"{where} must be one of {', '.join(map(str, option['choices']))}, not {_shown(value)}")
    inner = {"type": option["elements"]} if "elements" in option else {}
    if "options" in option:
        inner["options"] = option["options"]
    if isinstance(value, list) and inner:
        for number, one in enumerate(value, 1):
            _typed(f"{where}: entry {number}", one, inner)
    if isinstance(value, dict) and "options" in option:
        for name, one in value.items():
            if name not in option["options"]:
                help_ = near(name, option["options"])
                raise CommandError(f"{where} has no {name}" + (f": {help_}" if help_ else ""))
            _typed(f"{where}.{name}", one, option["options"][name])
        for name, one in option["options"].items():
            if one.get("required") and name not in value:
                raise CommandError(f"{where} lacks {name}")


def _shown(value: Any) -> str:
    kind = {str: "text", bool: "a truth value", int: "a whole number", float: "a number", list: "a list"}
    return f"{kind.get(type(value), 'a dictionary' if isinstance(value, dict) else 'nothing')} ({value!r})"


def shown(file: Path) -> str:
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)
