"""A user's own settings, ``settings/<target>.yml``. They are checked and override the project's variables.

Ansible reads the files in group_vars in the order of their names, so a user's file there might be overridden. Instead,
the settings become a second inventory in the state folder, which Ansible reads last.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cli.targets import Target, exports
from common import files
from common.errors import CommandError
from common.paths import ROOT
from common.progress import say

FOLDER = ROOT / "settings"
EXAMPLE = FOLDER / "example.yml"
# Types in argument specs and in Terraform → how to call them, and the types that YAML gives.
TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "bool": ("true or false", (bool,)),
    "dict": ("a dictionary", (dict,)),
    "float": ("a number", (int, float)),
    "int": ("a whole number", (int,)),
    "list": ("a list", (list,)),
    "number": ("a number", (int, float)),
    "path": ("text", (str,)),
    "set": ("a list", (list,)),
    "str": ("text", (str,)),
    "string": ("text", (str,)),
}
PARAMETER = r"parameters_values\s*\[\s*['\"]([^'\"]+)['\"]\s*\]"
# Variables of Terraform that the sandbox sets, and how their values are chosen.
OWN = {
    "admin_cidrs": "the sandbox's own network",
    "project": "the inventory looks for comentarios",
    "ssh_address": "the sandbox's hosts have a private address only",
    "ssh_public_key": "the sandbox makes a key",
    "vpc_cidr": "set SANDBOX_SUBNET",
}


@dataclass(frozen=True)
class Settings:
    """A user's own variables."""

    ansible: dict[str, Any] = field(default_factory=dict)
    terraform: dict[str, Any] = field(default_factory=dict)


def path(target: Target) -> Path:
    return FOLDER / f"{target.name}.yml"


def read(target: Target) -> Settings:
    """The checked settings of a target; empty if there is no file.

    Raises:
        CommandError: the file is not YAML, a name is unknown, or a value has the wrong type.
    """
    file = path(target)
    try:
        given = yaml.safe_load(file.read_text()) or {}
    except FileNotFoundError:
        return Settings()
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandError(f"{_name(file)} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise CommandError(f"{_name(file)} must contain `ansible:` and `terraform:`, as in {_name(EXAMPLE)}")
    for section, values in given.items():
        _known(file, section, {"ansible": {}, "terraform": {}}, "section")
        if not isinstance(values or {}, dict):
            raise CommandError(f"{_name(file)}: {section} must be a dictionary of variables")
    made = Settings(given.get("ansible") or {}, given.get("terraform") or {})
    if made.terraform and not target.is_sandbox:
        raise CommandError(f"{_name(file)}: Terraform's variables for AWS belong in terraform/aws.tfvars")
    for name, value in made.ansible.items():
        _check(file, name, value, ansible_variables(), "Ansible variable")
    for name, value in made.terraform.items():
        if name in OWN:
            raise CommandError(f"{_name(file)}: {name} cannot be set here: {OWN[name]}")
        _check(file, name, value, terraform_variables(), "Terraform variable")
    return made


def apply(target: Target) -> None:
    """Writes the settings as the last inventory, and prints their names."""
    made = _write(target)
    if names := [*made.ansible, *made.terraform]:
        say(f"▸ your own settings ({_name(path(target))}): {', '.join(names)}")


def env(target: Target) -> None:
    """``make env``: shell lines for ``eval``."""
    _write(target)
    say(exports(target))


def _write(target: Target) -> Settings:
    made, folder = read(target), target.state / "settings"
    files.write(folder / "hosts.yml", "all: {}\n")
    variables = made.ansible | ({"settings_parameters": named} if (named := _parameters(made.ansible)) else {})
    content = yaml.safe_dump(variables, sort_keys=True, allow_unicode=True)
    files.write(folder / "group_vars" / "all.yml", f"# Written by the verbs, from {_name(path(target))}.\n{content}")
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
def terraform_variables() -> dict[str, dict[str, Any]]:
    """Every variable of terraform/, with its type: ``set(string)`` is ``set`` here."""
    text = (ROOT / "terraform" / "variables.tf").read_text()
    found = re.findall(r'^variable "(\w+)" \{.*?^  type\s*=\s*(\w+)', text, re.MULTILINE | re.DOTALL)
    return {name: {"type": kind} for name, kind in found}


def _check(file: Path, name: str, value: Any, known: dict[str, dict[str, Any]], what: str) -> None:
    _known(file, name, known, what)
    if isinstance(value, str) and "{{" in value:
        return  # Ansible evaluates it later.
    _typed(f"{_name(file)}: {name}", value, known[name])


def _known(file: Path, name: object, known: dict[str, Any], what: str) -> None:
    if name in known:
        return
    near = difflib.get_close_matches(str(name), known, 1, 0.6)
    help_ = f"did you mean {near[0]}?" if near else f"{_name(EXAMPLE)} says where they are documented"
    raise CommandError(f"{_name(file)}: {name} is not a known {what}: {help_}")


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
                near = difflib.get_close_matches(str(name), option["options"], 1, 0.6)
                raise CommandError(f"{where} has no {name}" + (f": did you mean {near[0]}?" if near else ""))
            _typed(f"{where}.{name}", one, option["options"][name])
        for name, one in option["options"].items():
            if one.get("required") and name not in value:
                raise CommandError(f"{where} lacks {name}")


def _shown(value: Any) -> str:
    kind = {str: "text", bool: "a truth value", int: "a whole number", float: "a number", list: "a list"}
    return f"{kind.get(type(value), 'a dictionary' if isinstance(value, dict) else 'nothing')} ({value!r})"


def _name(file: Path) -> str:
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)
