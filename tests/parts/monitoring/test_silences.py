"""The commands of `make alerts` and `make silence` with a real Alertmanager in its container."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from cli import alerts
from tests.support import waiting

Shell = Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def shell(alertmanager_image: str) -> Iterator[Shell]:
    """Alertmanager as the stack runs it, and a shell in it."""
    configuration = "route: {receiver: none}\nreceivers: [{name: none}]\n"
    start = "exec alertmanager --config.file=/tmp/a.yml --storage.path=/tmp --cluster.listen-address="
    command = ["docker", "run", "--detach", "--rm", "--network=none", "--user=65534:65534", "--tmpfs=/tmp"]
    script = f"printf '{configuration}' > /tmp/a.yml; {start}"
    begun = subprocess.run(
        [*command, "--entrypoint=sh", alertmanager_image, "-c", script], capture_output=True, text=True, check=True
    )
    container = begun.stdout.strip()

    def run(line: str) -> subprocess.CompletedProcess[str]:
        inside = ["docker", "exec", container, "sh", "-c", line]
        return subprocess.run(inside, capture_output=True, text=True, timeout=60, check=False)

    try:
        waiting.eventually(lambda: run(alerts.amtool("alert", "query")).returncode == 0, 30)
        yield run
    finally:
        subprocess.run(["docker", "kill", container], capture_output=True, check=True)


def listed(shell: Shell) -> dict[str, str]:
    done = {heading: shell(command) for heading, command in alerts.listing()}
    assert not [one.stderr for one in done.values() if one.returncode]
    return {heading: one.stdout for heading, one in done.items()}


def once_listed(shell: Shell, heading: str) -> dict[str, str]:
    """What is listed as soon as DiskFull stands under this heading."""

    def attempt() -> dict[str, str]:
        found = listed(shell)
        return found if "DiskFull" in found[heading] else {}

    return waiting.eventually(attempt, 30)


def test_silenced_watchdog_still_rings(shell: Shell) -> None:
    """Or `make alerts` would say that nothing can fire. Before it has come in, it would be right."""
    assert "Watchdog" not in listed(shell)["Watchdog"]
    for command in (
        alerts.amtool("alert", "add", "alertname=Watchdog"),
        alerts.silencing("Watchdog", "5m", "somebody"),
    ):
        assert shell(command).returncode == 0
    waiting.eventually(lambda: "Watchdog" in listed(shell)["Silences"] and "Watchdog" in listed(shell)["Watchdog"], 20)
    assert shell(alerts.silencing("Watchdog", "0", "somebody")).returncode == 0


def test_silence_and_its_end(shell: Shell) -> None:
    for name in ("DiskFull", "Watchdog"):
        added = shell(alerts.amtool("alert", "add", f"alertname={name}", "severity=critical"))
        assert added.returncode == 0, added.stderr
    shown = once_listed(shell, "Alerts")
    assert (
        "Watchdog" not in shown["Alerts"]
        and "Watchdog" in shown["Watchdog"]
        and len(shown["Silences"].splitlines()) <= 1
    )

    # Twice: the second takes the first one's place.
    for duration in ("2h", "1d"):
        done = shell(alerts.silencing("DiskFull", duration, "somebody"))
        assert done.returncode == 0, done.stderr
        shown = once_listed(shell, "Silenced")
        assert "DiskFull" not in shown["Alerts"]
        assert shown["Silences"].count("alertname=") == 1 and "somebody" in shown["Silences"]

    # Twice, too: nothing is left to end.
    for _ in range(2):
        done = shell(alerts.silencing("DiskFull", "0", "somebody"))
        assert done.returncode == 0, done.stderr
    assert "DiskFull" not in once_listed(shell, "Alerts")["Silenced"]
