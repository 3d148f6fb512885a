"""Which packages may import which: API and roles' programs none, cli/ and sandbox/ only common/."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.paths import ROOT
from tests.support import programs

# Folder → packages of this project that its modules may not import.
FORBIDDEN = {
    "cli": ("sandbox", "tests"),
    "sandbox": ("cli", "tests"),
    "common": ("cli", "sandbox", "tests"),
    "api": ("cli", "sandbox", "tests"),
    "library": ("cli", "common", "sandbox", "tests"),
    "roles": ("cli", "common", "sandbox", "tests"),
}


def imported(source: str) -> Iterator[str]:
    """The first part of every absolute import, wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_layers(folder: str) -> None:
    modules = programs.tracked(ROOT, f"{folder}/*.py")
    assert modules
    found = [
        f"{path} imports {name}"
        for path in modules
        for name in imported(Path(ROOT, path).read_text())
        if name in FORBIDDEN[folder]
    ]
    assert found == []


def test_imports_are_found() -> None:
    source = "import a.b, c\nfrom d.e import f\nfrom . import g\ndef h():\n    import i\n"
    assert list(imported(source)) == ["a", "c", "d", "i"]


# The outermost layer: what a person gives and what a machine's environment says is read here and passed on.
READS_THE_ENVIRONMENT = {
    "cli/__main__.py",
    "cli/doctor.py",  # its work is to say what the environment is
    "cli/targets.py",
    "common/config.py",
    "common/engine.py",  # DOCKER_HOST, as the docker command reads it
    "sandbox/machine.py",  # hands PATH to a process that gets no other variable
    "common/progress.py",  # TERM, and V of every command
}


def environment_read(source: str) -> bool:
    """Whether a module asks os.environ for a variable. To hand all of it on to a child is something else."""
    return any(
        isinstance(node, ast.Attribute | ast.Subscript)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "environ"
        or isinstance(node, ast.Attribute)
        and node.attr == "getenv"
        for node in ast.walk(ast.parse(source))
    )


def test_only_the_outermost_layer_reads_the_environment() -> None:
    modules = [path for folder in ("cli", "common", "sandbox") for path in programs.tracked(ROOT, f"{folder}/*.py")]
    assert {path for path in modules if environment_read(Path(ROOT, path).read_text())} == READS_THE_ENVIRONMENT


@pytest.mark.parametrize(
    ("source", "read"),
    [
        ("os.environ['A']", True),
        ("os.environ.get('A')", True),
        ("os.getenv('A')", True),
        ("{**os.environ, 'A': 'b'}", False),
    ],
)
def test_reading_the_environment_is_found(source: str, read: bool) -> None:
    assert environment_read(source) is read
