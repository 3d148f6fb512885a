"""``make alerts`` and ``make silence``: Alertmanager by amtool in its own container. Debian's has no pages to click."""

from __future__ import annotations

import getpass
import shlex

from cli import host
from cli.targets import Target
from common.errors import CommandError
from common.progress import say

BETWEEN = "----"
WATCHDOG = "Watchdog"
# Also one that was silenced, or has just come in.
ANY = ("--active", "--silenced", "--unprocessed")
CONTAINER = "docker compose --project-directory /opt/comentarios exec -T alertmanager"


def amtool(*arguments: str) -> str:
    """A command for the host's shell, as far as the container's."""
    return shlex.join(["amtool", "--no-version-check", "--alertmanager.url=http://127.0.0.1:9093", *arguments])


def listing() -> list[tuple[str, str]]:
    """A heading and its command: what fires, what is silenced. The watchdog always fires, or nothing can."""
    return [
        (WATCHDOG, amtool("alert", "query", *ANY, f"alertname={WATCHDOG}", "--output=simple")),
        ("Alerts", amtool("alert", "query", f"alertname!={WATCHDOG}", "--output=simple")),
        ("Silenced", amtool("alert", "query", "--silenced", "--output=simple")),
        ("Silences", amtool("silence", "query", "--output=simple")),
    ]


def silencing(alert: str, duration: str, author: str) -> str:
    """Silences the alert for so long, in place of what silences it now; `0` only ends that."""
    matcher = f"alertname={alert}"
    # amtool fails when it has nothing to end.
    query = f"$({amtool('silence', 'query', '--quiet', matcher)})"
    end = f'ids={query} || exit; [ -z "$ids" ] || {amtool("silence", "expire")} $ids || exit'
    if duration == "0":
        return end
    begin = amtool("silence", "add", matcher, f"--duration={duration}", f"--author={author}", "--comment=make silence")
    # The new one first: there is no moment without.
    return f'old={query} || exit; {begin} || exit; [ -z "$old" ] || {amtool("silence", "expire")} $old'


def alerts(target: Target) -> int:
    """Says for every host what fires and what is silenced, until when; 1 where nothing could fire.

    Raises:
        CommandError: there is no host, or Alertmanager does not answer.
    """
    deaf = False
    for one in host.several(target):
        say(f"▸ {one.name}")
        # One question: each takes the host half a second before Alertmanager hears of it.
        answers: list[list[str]] = [[]]
        for line in _run(target, one, f" && echo {BETWEEN} && ".join(command for _, command in listing())).splitlines():
            answers.append([]) if line == BETWEEN else answers[-1].append(line)
        for (heading, _), lines in zip(listing(), answers, strict=True):
            # The first line names the columns.
            none = len(lines) < 2
            if heading == WATCHDOG:
                deaf = deaf or none
                if none:
                    say(
                        "  ✗ nothing can fire: Alertmanager hears nothing from Prometheus; `make status` says what runs"
                    )
                continue
            say(f"  {heading}: none" if none else "\n".join([f"  {heading}", *(f"    {x}" for x in lines)]))
    return int(deaf)


def silence(target: Target, alert: str, for_: str, host_: str) -> None:
    """Silences an alert on every host, or on the one of this name, for a time; ``0`` ends it.

    Raises:
        CommandError: no alert was given, or Alertmanager does not answer.
    """
    duration = for_ or "2h"
    if not alert:
        raise CommandError("which alert? `make silence ALERT=DiskFull FOR=2h`; `make alerts` lists them")
    for one in host.several(target, host_):
        _run(target, one, silencing(alert, duration, getpass.getuser()))
        what = "is not silenced" if duration == "0" else f"is silenced for {duration}"
        say(f"▸ {one.name}: {alert} {what}")


def _run(target: Target, one: host.Host, command: str) -> str:
    done = host.run(target, one, f"{CONTAINER} sh -c {shlex.quote(command)}")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise CommandError(f"{one.name}: Alertmanager does not do it: {last}; `make status` says what runs")
    return done.stdout
