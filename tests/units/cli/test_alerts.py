"""`make alerts` splits Alertmanager's answers, which come in one output."""

from __future__ import annotations

import subprocess

import pytest

from cli import alerts, host
from cli.targets import target

WATCHDOG = "Alertname  Starts At\nWatchdog   2026-11-25\n"
DEAF = "  ✗ no alert gets through: Alertmanager receives nothing from Prometheus; see `make status`"


@pytest.mark.parametrize(("watchdog", "status", "line"), [(WATCHDOG, 0, []), ("", 1, [DEAF])])
def test_each_answer_has_its_heading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], watchdog: str, status: int, line: list[str]
) -> None:
    """amtool says nothing, or its columns alone, where there is nothing."""
    asked: list[str] = []

    def run(_: object, __: object, command: str) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        said = f"{watchdog}----\nAlertname  Starts At\nDiskFull   2026-11-25\n----\n----\nID  Matchers\n"
        return subprocess.CompletedProcess(command, 0, said, "")

    monkeypatch.setattr(host, "run", run)
    monkeypatch.setattr(host, "hosts", lambda _: [host.Host("comentarios-1", "10.0.0.1", "admin", "i-1")])
    assert alerts.alerts(target()) == status
    assert capsys.readouterr().out.splitlines() == [
        "▸ comentarios-1",
        *line,
        "  Alerts",
        "    Alertname  Starts At",
        "    DiskFull   2026-11-25",
        "  Silenced: none",
        "  Silences: none",
    ]
    assert len(asked) == 1
