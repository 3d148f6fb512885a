"""How the CLI runs the sandbox's commands."""

from __future__ import annotations

import pytest

from cli import sandbox
from common.errors import CommandError


def test_lines_are_shown_and_the_error_is_raised(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("V", raising=False)
    script = "echo '▸ working'; echo '✓ done (0.1 s)'; echo '✗ port 1 is taken' >&2; exit 1"
    monkeypatch.setattr(sandbox, "_command", lambda _: ["sh", "-c", script])
    with pytest.raises(CommandError, match="^port 1 is taken$"):
        sandbox.run("start")
    assert capsys.readouterr() == ("▸ working\n✓ done (0.1 s)\n", "")


def test_command_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_command", lambda _: ["false"])
    with pytest.raises(CommandError, match="^python -m sandbox start failed$"):
        sandbox.run("start")
    with pytest.raises(CommandError, match="^no output$"):
        sandbox.checks()


def test_progress_before_the_checks_is_no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    row = '[{"what": "subnet", "state": "good", "found": "free", "help": ""}]'
    monkeypatch.setattr(sandbox, "_command", lambda _: ["printf", f"  making an image\\n{row}\\n"])
    assert [one.what for one in sandbox.checks()] == ["subnet"]
