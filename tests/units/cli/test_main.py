"""The checks before a verb runs, and which error comes first."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests
from botocore.parsers import ResponseParserError

from cli import __main__ as cli
from cli import terraform
from cli.targets import Target
from common import ownership
from common.config import Config
from common.errors import CommandError


def test_somebody_elses_sandbox_comes_before_one_that_is_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are checked at the same time; the sandbox that is down is another one."""

    def refuse(text: str) -> None:
        raise CommandError(text)

    sandbox = Config(name="units", state=tmp_path)
    monkeypatch.setattr(cli, "target", lambda: Target("sandbox", tmp_path, {}, sandbox))
    monkeypatch.setattr(ownership, "check", lambda _: refuse("it is somebody else's"))
    monkeypatch.setattr(terraform, "ensure_up", lambda _: refuse("nothing is up"))
    monkeypatch.setattr("sys.argv", ["cli", "releases"])
    assert cli.main() == 1
    assert capsys.readouterr().err == "✗ it is somebody else's\n"
    monkeypatch.setattr(ownership, "check", lambda _: None)
    assert cli.main() == 1
    assert capsys.readouterr().err == "✗ nothing is up\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(2, "No such file or directory", "/x"), "/x: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (requests.ConnectionError("127.0.0.1: connection refused"), "127.0.0.1: connection refused"),
        (ResponseParserError("no element found\nb''"), "AWS refuses the request or does not answer: no element found"),
    ],
)
def test_fault_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    """A disk that is full has no name, and what requests raises has no number. AWS's reply may be cut off."""

    def fault(_: Target) -> None:
        raise error

    monkeypatch.setattr(cli, "target", lambda: Target("sandbox", tmp_path, {}))
    monkeypatch.setattr("cli.doctor.doctor", fault)
    monkeypatch.setattr("sys.argv", ["cli", "doctor"])
    assert cli.main() == 1
    assert capsys.readouterr().err == f"✗ {line}\n"
