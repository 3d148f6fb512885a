"""Progress: one line per step on the screen, and the output of child processes in a log.

In a terminal each running step has a moving line with a clock. Elsewhere, and with V=1, there are plain lines only.
rich and yaml are imported late, because this module is also used before anything is installed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import last_line

# Without a terminal, a step is announced only after this time, and then repeated at this interval.
QUIET_SECONDS, REMIND_SECONDS = 3.0, 60.0
# Seconds that a child process has, after Ctrl-C, to end by itself.
GRACE_SECONDS = 60.0
TAIL = 12

_lock = threading.RLock()
_display: Any = None


class Step:
    """A running step.

    Attributes:
        what: its name.
        detail: what it is doing, for the moving line.
        result: how it ended, for the final line.
    """

    def __init__(self, what: str) -> None:
        self.what, self.detail, self.result = what, "", ""
        self.begin = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begin

    def __str__(self) -> str:
        return f"{self.what}: {self.detail}" if self.detail else self.what


def verbose() -> bool:
    """Whether to show the output of child processes: V=1."""
    return os.environ.get("V", "") not in {"", "0"}


def in_terminal() -> bool:
    """Whether running steps have a moving line."""
    return not verbose() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    """Prints a line. If the reader has closed the pipe (``| head``), the work continues."""
    with _lock:
        try:
            if _display:
                _display.console.print(text, markup=False, highlight=False, soft_wrap=True)
            else:
                print(text, flush=True)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(text: str) -> int:
    """Prints an error and returns the exit status."""
    print(f"✗ {text}", file=sys.stderr, flush=True)
    return 1


@contextlib.contextmanager
def step(what: str) -> Iterator[Step]:
    """A step that lasts as long as the block. Steps may overlap; on an error, the caller prints it."""
    with shown(Step(what)) as running:
        yield running
    result = f": {running.result}" if running.result else ""
    say(f"✓ {what}{result} ({running.seconds:.1f} s)")


def logged(
    command: Sequence[str | Path],
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    each: Callable[[str], None] = lambda line: None,
    umask: int = -1,
    grace: float = GRACE_SECONDS,
) -> int:
    """Runs a command with its output in a new log; returns the exit status.

    Args:
        each: called with every line.
        umask: the command's umask; -1 keeps ours.
        grace: seconds that the command has, after Ctrl-C, to end by itself.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(
            command,
            cwd=cwd,
            env=env,
            umask=umask,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stdout
        try:
            for line in process.stdout:
                output.write(line)
                output.flush()
                if verbose():
                    say(line.rstrip("\n"))
                each(line.rstrip("\n"))
            return process.wait()
        except KeyboardInterrupt:
            # Ctrl-C reached the child, too. A second signal would abort Terraform.
            end(process, grace)
            raise


def end(process: subprocess.Popen[str], seconds: float = GRACE_SECONDS) -> None:
    """Waits for an interrupted child to end; after that time, terminates it."""
    for stop in (process.terminate, process.kill):
        try:
            process.communicate(timeout=seconds)
            return
        except subprocess.TimeoutExpired:
            stop()
            seconds = 10
    process.wait()


def reason(log: Path) -> str:
    """Why the command with this log failed: the failing line and its cause, in one line."""
    # Without colours, and without BuildKit's numbers and times.
    plain = (re.sub(r"\x1b\[[0-9;]*m|^#\d+ (\d+\.\d+ )?", "", line).rstrip() for line in _lines(log))
    indented = [line for line in plain if line]
    lines = [line.strip() for line in indented]
    return _ansible(indented) or _docker(lines) or _terraform(lines) or last_line("\n".join(lines))


def failure(what: str, log: Path) -> str:
    """Returns the message for a failed command's error. Prints its log's last lines, unless they are on the screen."""
    if not verbose():
        for line in _lines(log)[-TAIL:]:
            say(f"  │ {line}")
    return f"{what}: {reason(log)} (whole log: {log})"


def _lines(log: Path) -> list[str]:
    text = log.read_text(encoding="utf-8", errors="replace")
    return [line for line in text.splitlines() if line.strip()]


def _ansible(lines: list[str]) -> str:
    task = ""
    for number, line in enumerate(lines):
        if found := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*?)\] \**$", line):
            task = found[1]
        if found := re.match(r"(?:fatal|failed): \[([^\]]+?)(?: -> [^\]]*)?\].*?(?:FAILED|UNREACHABLE)! =>(.*)", line):
            if "...ignoring" in lines[number : number + 40]:
                continue
            # In YAML, or in JSON on the same line, which is YAML, too.
            result = _yaml([found[2], *itertools.takewhile(lambda one: one.startswith(" "), lines[number + 1 :])])
            # no_log hides the result, but not the error line.
            errors = [one.removeprefix("[ERROR]: ") for one in lines[:number] if one.startswith("[ERROR]: ")]
            said = errors[-1] if errors and "censored" in result else str(result.get("msg", "")).strip()
            return f"{found[1]}: task `{task}`: {said.splitlines()[0] if said else found[2].strip()}"
    return ""


def _yaml(lines: list[str]) -> dict[str, Any]:
    """A dictionary in YAML, whose values stay as they are written; empty if it is none."""
    import yaml

    try:
        found = yaml.load("\n".join(lines), yaml.BaseLoader)
    except yaml.YAMLError:
        found = None
    return found if isinstance(found, dict) else {}


def _docker(lines: list[str]) -> str:
    """The failed instruction of a Dockerfile, with either builder, and its cause."""
    for number, line in enumerate(lines):
        classic = re.search(r"The command '(?:/bin/sh -c )?(.*)' returned a non-zero code: \d+", line)
        kit = re.search(r'ERROR: process "(?:/bin/sh -c )?(.*)" did not complete successfully', line)
        if found := classic or kit:
            instruction = found[1]
            said = [one for one in lines[:number] if not one.startswith(("--->", "Removing intermediate", "-----"))]
            worst = [one for one in said[-30:] if re.match(r"(E|ERROR|error|fatal|.*Error|.*error)\b.*:? ", one)]
            cause = (worst or said or [line])[-1]
            return f"RUN {' '.join(instruction.split())[:120]}: {cause}"
    return ""


def _terraform(lines: list[str]) -> str:
    plain = [line.strip("╷│╵ ") for line in lines]
    for number, line in enumerate(plain):
        if line.startswith("Error: "):
            rest = itertools.takewhile(lambda one: not one.startswith("Error: "), plain[number + 1 : number + 12])
            where = next((one.rstrip(":") for one in rest if re.match(r"on \S+ line \d+", one)), "")
            return line.removeprefix("Error: ") + (f" ({where})" if where else "")
    return ""


@contextlib.contextmanager
def shown(running: Step) -> Iterator[Step]:
    """Shows a step while it runs, but not how it ended."""
    if in_terminal():
        with _moving(running):
            yield running
        return
    over = threading.Event()

    def remind() -> None:
        seconds = QUIET_SECONDS
        while not over.wait(seconds):
            say(f"▸ {running.what}" if seconds == QUIET_SECONDS else f"▸ {running} ({running.seconds:.0f} s so far)")
            seconds = REMIND_SECONDS

    thread = threading.Thread(target=remind, daemon=True)
    if verbose():
        say(f"▸ {running.what}")
    else:
        thread.start()
    try:
        yield running
    finally:
        over.set()
        if thread.ident:
            thread.join()


@contextlib.contextmanager
def _moving(running: Step) -> Iterator[None]:
    """Draws a moving line for every running step."""
    global _display
    with _lock:
        _display = _display or _moving_lines()
        _display.start()
        line = _display.add_task(running.what, step=running)
    try:
        yield
    finally:
        with _lock:
            _display.remove_task(line)
            if not _display.tasks:
                _display.stop()
                _display = None


def _moving_lines() -> Any:
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    detail = TextColumn("{task.fields[step].detail}", "dim", markup=False, table_column=Column(no_wrap=True))
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(), detail
    return Progress(*columns, refresh_per_second=8, transient=True)
