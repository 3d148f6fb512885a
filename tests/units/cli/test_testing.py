"""Which tests `make check`, `make test` and `make prove` run."""

from __future__ import annotations

import os
import subprocess

import pytest

from cli import downloads, inputs, testing
from cli.targets import target
from common import engine
from common.paths import ROOT


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What pytest is called with; in place of an engine there is one that nobody may start."""
    calls: list[tuple[str, ...]] = []

    def run(*arguments: str) -> int:
        calls.append(arguments)
        return 0

    monkeypatch.setattr(testing, "_pytest", run)
    monkeypatch.setattr(engine, "ensure", lambda: None)
    monkeypatch.setattr(engine, "stop", lambda: None)
    monkeypatch.setattr(os, "nice", lambda _: 0)
    return calls


def test_every_test_belongs_to_a_tier() -> None:
    files = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("**/tests/**/test_*.py")
        if not {".venv", ".state"} & set(path.parts)
    ]
    folders = tuple(folder for tier in testing.TIERS.values() for folder in tier) + testing.PROVE
    assert len(files) > 40
    assert [file for file in files if not file.startswith(folders)] == []


def test_check_starts_no_engine(ran: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ensure", lambda: pytest.fail("an engine was started"))
    assert testing.check(target()) == 0
    assert ran[0][-3:] == ("tests/lint", "tests/units", "api/tests/units")


@pytest.mark.parametrize(
    ("tiers", "folders"),
    [
        ("", {"tests/lint", "tests/units", "api/tests/units", "api/tests/parts", "tests/parts", "tests/site"}),
        ("parts", {"api/tests/parts", "tests/parts"}),
        ("site parts", {"api/tests/parts", "tests/parts", "tests/site"}),
    ],
)
def test_tiers(ran: list[tuple[str, ...]], tiers: str, folders: set[str]) -> None:
    assert testing.test(target(), tiers) == 0
    assert {one for one in ran[0] if "/" in one} == folders


def test_terraform_is_there_for_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some run it, `make check`'s linters among them; a machine without it gets it as from `make up`."""
    done: list[str] = []
    monkeypatch.setattr(downloads, "ensure_terraform", lambda: done.append("terraform"))

    def run(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        done.append("pytest")
        return subprocess.CompletedProcess("", 0)

    monkeypatch.setattr("subprocess.run", run)
    assert testing.check(target()) == 0 and done[-2:] == ["terraform", "pytest"]


def test_every_tier_may_be_given() -> None:
    inputs.check({"TIERS": " ".join(testing.TIERS)})
