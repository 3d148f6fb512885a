"""The sandbox, by its commands: each runs as ``python -m sandbox …`` in a process of its own."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from common.check import Check
from common.errors import CommandError, last_line
from common.paths import ROOT
from common.progress import Step, in_terminal, logged, say, shown, verbose


def run(command: str) -> None:
    """Runs a command and shows its lines as they come.

    Raises:
        CommandError: it failed; the command's own line.
    """
    error = f"python -m sandbox {command} failed"
    step = Step(f"sandbox: {command}")
    # Without a moving line, the command's own lines say what is running.
    with shown(step) if in_terminal() else contextlib.nullcontext():

        def each(line: str) -> None:
            nonlocal error
            if line.startswith("✗ "):
                error = line.removeprefix("✗ ")
            elif line.startswith("▸ ") and in_terminal():
                step.detail = line.removeprefix("▸ ")
            elif not verbose():
                say(line)

        # Its lines are on the screen, so they need no log.
        failed = logged(_command(command), Path(os.devnull), cwd=ROOT, each=each)
    if failed:
        raise CommandError(error)


def checks() -> list[Check]:
    """The sandbox's checks of this machine.

    Raises:
        CommandError: it cannot tell; the command's own line.
    """
    done = subprocess.run(_command("check"), cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(last_line(done.stderr).removeprefix("✗ "))
    # Earlier lines are progress.
    return [Check(**row) for row in json.loads(done.stdout.splitlines()[-1])]


def status() -> bool:
    """Prints a line for every part of the sandbox; returns whether all are healthy."""
    return subprocess.run(_command("status"), cwd=ROOT, check=False).returncode == 0


def _command(command: str) -> list[str]:
    return [sys.executable, "-m", "sandbox", command]
