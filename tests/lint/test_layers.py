"""Who may import whom: the API and the roles' programs stand alone; cli/ and sandbox/ meet in common/ only."""

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
