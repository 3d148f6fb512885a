"""The linters, without findings. They need no network."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from tests.support import programs
from tests.support.site import ROOT, run

BIN = Path(sys.executable).parent
# Both would load a grammar of IRIs for two seconds, and no schema of theirs has one.
WITHOUT_IRIS = "import sys; sys.modules['rfc3987_syntax'] = None\n"
# It starts a process for the syntax of each playbook and each role. `test_syntax` has one for all.
ANSIBLE_LINT = f"""{WITHOUT_IRIS}
from ansiblelint import __main__, runner
runner.Runner._run_syntax_check_phase = lambda *_: []
__main__._run_cli_entrypoint()
"""
SCHEMA = f"{WITHOUT_IRIS}import check_jsonschema; check_jsonschema.main()"
WORKFLOWS = programs.tracked(ROOT, ".github/workflows/*.yml")
PROGRAMS = programs.find(ROOT)
COMMANDS: dict[str, list[str | Path]] = {
    "yamllint": [BIN / "yamllint", "--strict", "."],
    "ansible-lint": [sys.executable, "-c", ANSIBLE_LINT, "--strict", "--offline", "--profile", "production"],
    "GitHub's schema": [sys.executable, "-c", SCHEMA, "--builtin-schema", "vendor.github-workflows", *WORKFLOWS],
    "zizmor": [BIN / "zizmor", "--offline", "--no-progress", *WORKFLOWS],
    "terraform fmt": ["terraform", "fmt", "-check", "-recursive", "-diff", "terraform"],
    "hadolint": [BIN / "hadolint", *programs.tracked(ROOT, "*Dockerfile")],
}
ANSIBLE = {
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    # The inventory asks AWS.
    "ANSIBLE_INVENTORY": os.devnull,
    "ANSIBLE_INVENTORY_ENABLED": "ansible.builtin.ini",
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "false",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_linter(name: str) -> None:
    _lint(COMMANDS[name], ANSIBLE)


def test_syntax(tmp_path: Path) -> None:
    """Of every playbook and role, by Ansible itself."""
    roles = [{"ansible.builtin.import_role": {"name": role.name}} for role in (ROOT / "roles").iterdir()]
    every = tmp_path / "roles.yml"
    every.write_text(yaml.safe_dump([{"hosts": "localhost", "tasks": roles}]))
    playbooks = programs.tracked(ROOT, "site.yml", "playbooks/*.yml", "*/molecule/*/*.yml", "molecule/*/*.yml")
    playbooks = [name for name in playbooks if Path(name).name != "molecule.yml"]
    assert len(playbooks) > 10
    _lint([BIN / "ansible-playbook", "--syntax-check", *playbooks, every], ANSIBLE)


def test_a_role_alone_has_its_packages() -> None:
    """On a new host: role base installs them, in one task for all roles."""
    listed = run(
        [BIN / "ansible-playbook", "--list-tasks", "--tags", "docker", ROOT / "site.yml"], os.environ | ANSIBLE
    )
    assert "base : Install packages" in listed.stdout and "base : Write" not in listed.stdout, listed.stdout


@pytest.mark.parametrize("language", sorted(set(programs.LANGUAGES.values())))
def test_programs(language: str, tmp_path: Path) -> None:
    """ruff, mypy and shellcheck over every program: those without an ending and those in templates, too."""
    _check(ROOT, language, PROGRAMS, tmp_path)


def test_every_program_has_a_linter() -> None:
    """A program is what has an interpreter in its first line, or may be executed."""
    unknown = {one.path: one.language for one in PROGRAMS if one.language not in programs.LANGUAGES.values()}
    assert not unknown, "no linter knows these: add one to tests/lint, or write them in another language"
    executable = {name for name in programs.tracked(ROOT) if (ROOT / name).stat().st_mode & stat.S_IXUSR}
    assert executable - {one.path for one in PROGRAMS} == set(), "executable, and without an interpreter's first line"
    assert len({one.path for one in PROGRAMS if one.language == "python" and not one.path.endswith(".py")}) >= 2
    assert len({one.path for one in PROGRAMS if one.language == "shell"}) >= 5


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("bin/tool", "#!/usr/bin/env python3\nimport os\n", "F401"),
        ("bin/tool", "#!/usr/bin/python3\ndef double(number):\n    return 2 * number\n", "no-untyped-def"),
        ("roles/x/templates/tool.j2", "#!/usr/bin/python3\nNAME = {{ x_name | to_json }} + 1\n", "operator"),
        ("bin/tool", "#!/bin/sh\nrm $1\n", "SC2086"),
        ("roles/x/templates/tool.j2", "#!/bin/sh\n{% if x_all %}\nrm $1\n{% endif %}\nrm {{ x_dir }}/$2\n", "SC2086"),
        (".github/workflows/x.yml", "jobs: {x: {steps: [{run: 'rm ${{ x }} $1'}]}}\n", "SC2086"),
    ],
)
def test_a_new_program_is_seen(name: str, text: str, finding: str, tmp_path: Path) -> None:
    """It is enough that a file is there; nobody has to name it."""
    repository = tmp_path / "repository"
    (repository / name).parent.mkdir(parents=True)
    (repository / name).write_text(text)
    subprocess.run(["git", "init", "--quiet", repository], check=True)
    found = programs.find(repository)
    with pytest.raises(AssertionError, match=finding):
        _check(repository, found[0].language, found, tmp_path)


def test_every_role_is_described() -> None:
    """Each role has defaults, argument specs that name every default with the same value, and a README."""
    for role in sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir()):
        defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text()) or {}
        specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text())
        options = {name: one for entry in specs["argument_specs"].values() for name, one in entry["options"].items()}
        readme = (role / "README.md").read_text()
        for name, value in defaults.items():
            assert name in options, f"{role.name}: {name} has no argument spec"
            if "{{" not in str(value):
                assert options[name].get("default") == value, f"{role.name}: {name}'s default differs in its spec"
        for name in options:
            assert f"`{name}`" in readme, f"{role.name}: the README does not name {name}"


def test_compose_file_says_nothing_twice() -> None:
    """Compose refuses a key that is there twice, as two merges can leave it; YAML's loaders take the last."""
    _lint([BIN / "yamllint", "--config-data", "{rules: {key-duplicates: enable}}", ROOT / "docker-compose.yml"])


def _check(root: Path, language: str, every: Sequence[programs.Program], scratch: Path) -> None:
    """Runs the language's linters over its programs; what is not a file as it stands is written to one."""
    paths = []
    for one in every:
        if one.language == language and one.as_it_is:
            paths.append(root / one.path)
        elif one.language == language:
            paths.append(scratch / one.path.removesuffix(".j2").replace("/", "-").lstrip("."))
            paths[-1].write_text(one.text)
    if language == "shell":
        _lint([BIN / "shellcheck", *paths])
        return
    here = root == ROOT
    configuration: list[str | Path] = ["--config", ROOT / "pyproject.toml"]
    sources = [path for path in paths if path.suffix != ".py"] + ([ROOT] if here else [])
    _lint([BIN / "ruff", "check", *configuration, *sources])
    _lint([BIN / "ruff", "format", "--check", *configuration, *sources])
    typed = [ROOT / name for name in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]]
    scripts = [path for path in paths if path.suffix != ".py"]
    _lint([BIN / "mypy", "--scripts-are-modules", *(typed if here else []), *scripts])


def _lint(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    path = f"{BIN}:{os.environ['PATH']}"
    done = run(command, {**os.environ, "PATH": path, **(environment or {})})
    assert done.returncode == 0, done.stdout[-6000:]
