"""`make alerts` splits Alertmanager's answers, which come in one output."""

from __future__ import annotations

import re
import subprocess

import pytest

from cli import alerts, host
from cli.targets import target
from common.errors import CommandError

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


@pytest.mark.parametrize("for_", ["2h", "0"])
@pytest.mark.parametrize(
    ("name", "help_"),
    [("DiskFul", "did you mean DiskFull?"), ("Qqqqqqq", "docs/operations.md lists the alerts")],
)
def test_silence_of_an_alert_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, name: str, help_: str, for_: str
) -> None:
    """Alertmanager would take it, and the alert would ring."""
    monkeypatch.setattr(host, "hosts", lambda _: pytest.fail("a host is asked"))
    with pytest.raises(CommandError, match=rf"^ALERT: no rule is named {name}: {re.escape(help_)}$"):
        alerts.silence(target(), name, for_, "")
