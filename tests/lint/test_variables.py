"""Every variable that a role reads is declared in its argument_specs, with a type."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import pytest
import yaml

from common.paths import ROOT
from tests.support import programs

ROLES = sorted(path for path in (ROOT / "roles").iterdir() if (path / "tasks").is_dir())
# Ansible's own, and the loop's.
GIVEN = {
    *(
        "_",
        "ansible_check_mode",
        "ansible_facts",
        "ansible_managed",
        "ansible_playbook_python",
        "ansible_user",
        "groups",
        "inventory_hostname",
    ),
    *("item", "lookup", "omit", "playbook_dir", "query"),
}
# Keys of a task whose value is an expression without braces.
CONDITIONS = {"when", "until", "changed_when", "failed_when", "that", "var"}


class Anything(dict[str, Any]):
    """Filters and tests: Ansible has many, and which ones does not matter here."""

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name, len)


class Parser(jinja2.Environment):
    def __init__(self) -> None:
        super().__init__()
        self.filters, self.tests = Anything(self.filters), Anything(self.tests)

    def read(self, template: str) -> set[str]:
        with warnings.catch_warnings():
            # `\.` in a regular expression.
            warnings.simplefilter("ignore", DeprecationWarning)
            return jinja2.meta.find_undeclared_variables(self.parse(template))


PARSER = Parser()


def read(value: Any, condition: bool = False) -> Iterator[str]:
    """The variables in the templates of a YAML value."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from read(one, key in CONDITIONS)
            yield from read(key)
    elif isinstance(value, list):
        for one in value:
            yield from read(one, condition)
    elif isinstance(value, str):
        yield from PARSER.read(f"{{{{ {value} }}}}" if condition and "{{" not in value else value)


def defined(value: Any) -> Iterator[str]:
    """What tasks register, set or name their loop's variable."""
    if isinstance(value, dict):
        yield from (one for key, one in value.items() if key in ("register", "loop_var", "index_var"))
        yield from value.get("ansible.builtin.set_fact", {})
        yield from value.get("vars", {})
        for one in value.values():
            yield from defined(one)
    elif isinstance(value, list):
        for one in value:
            yield from defined(one)


def documents(role: Path, *folders: str) -> list[Any]:
    paths = [path for folder in folders for path in sorted((role / folder).glob("*.yml"))]
    return [yaml.safe_load(path.read_text()) or {} for path in paths]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_variables_are_declared(role: Path) -> None:
    entries = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    options = {name: option for entry in entries.values() for name, option in entry["options"].items()}
    untyped = [name for name, option in options.items() if "type" not in option]
    assert untyped == []
    content = documents(role, "tasks", "handlers", "defaults", "vars")
    names = {name for one in content for name in read(one)}
    for path in sorted((role / "templates").rglob("*.j2")):
        names |= PARSER.read(path.read_text())
    own = {name for one in documents(role, "tasks", "handlers") for name in defined(one)}
    own |= {name for one in documents(role, "vars") for name in one}
    assert sorted(names - options.keys() - own - GIVEN) == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_declared_variables_are_read(role: Path) -> None:
    """A role that validates what only another role reads would refuse what that one takes."""
    entries = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    texts = "\n".join(
        path.read_text()
        for path in sorted(role.rglob("*"))
        if path.is_file() and path.suffix in (".yml", ".j2", ".ini") and "meta" not in path.parts
    )
    assert [name for entry in entries.values() for name in entry["options"] if name not in texts] == []


def escapes(value: Any) -> Iterator[str]:
    """Templates with a backslash and an n. Ansible doubles it: it is a new line in YAML's double quotes only."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from escapes(one)
    elif isinstance(value, str):
        yield from (one for one in re.findall(r"\{[{%].*?[%}]\}", value, re.DOTALL) if "\\n" in one)


def test_no_template_writes_a_backslash_for_a_new_line() -> None:
    files = [
        ROOT / name for name in programs.tracked(ROOT, "*.yml") if name.startswith(("roles", "inventory", "playb"))
    ]
    assert len(files) > 50
    # `!unsafe` and the like do not matter here.
    found = {file: list(escapes(yaml.load(file.read_text(), yaml.BaseLoader))) for file in files}
    assert {str(file): list(map(str, ones)) for file, ones in found.items() if ones} == {}


@pytest.mark.parametrize(
    ("text", "wrong"), [("x: >-\n  {{ 'a\\n' }}", 1), ("x: \"{{ 'a\\n' }}\"", 0), ("x: 'a\\n'", 0)]
)
def test_backslashes_are_found(text: str, wrong: int) -> None:
    assert len(list(escapes(yaml.safe_load(text)))) == wrong


def test_variables_are_found() -> None:
    task = {"when": "a | length > 0", "x": {"y": "{{ b.c }} {% for d in e %}{{ d }}{% endfor %}"}, "register": "f"}
    assert set(read(task)) == {"a", "b", "e"} and list(defined(task)) == ["f"]
