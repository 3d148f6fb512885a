"""``make alerts`` and ``make silence``: amtool in Alertmanager's container, since Debian's package has no web pages."""

import getpass
import re
import shlex

from cli import host
from cli.targets import Target
from common.errors import CommandError, last_line, near
from common.paths import ROOT
from common.progress import say

SEPARATOR = "----"
WATCHDOG = "Watchdog"
# Includes alerts that are silenced or have just arrived.
ANY = ("--active", "--silenced", "--unprocessed")
RULES = ROOT / "roles/prometheus/files/rules"
CONTAINER = f"{host.COMPOSE} exec -T alertmanager"


def amtool(*arguments: str) -> str:
    """An amtool command, quoted for a shell in the container."""
    return shlex.join(["amtool", "--no-version-check", "--alertmanager.url=http://127.0.0.1:9093", *arguments])


def listing() -> list[tuple[str, str]]:
    """Headings and their commands. The watchdog always fires: without it, no alert gets through."""
    return [
        (WATCHDOG, amtool("alert", "query", *ANY, f"alertname={WATCHDOG}", "--output=simple")),
        ("Alerts", amtool("alert", "query", f"alertname!={WATCHDOG}", "--output=simple")),
        ("Silenced", amtool("alert", "query", "--silenced", "--output=simple")),
        ("Silences", amtool("silence", "query", "--output=simple")),
    ]


def silencing(alert: str, duration: str, author: str) -> str:
    """The commands that replace an alert's silence by one of this duration; `0` only ends it."""
    matcher = f"alertname={alert}"
    # amtool fails when there is nothing to expire.
    query = f"$({amtool('silence', 'query', '--quiet', matcher)})"
    end = f'ids={query} || exit; [ -z "$ids" ] || {amtool("silence", "expire")} $ids || exit'
    if duration == "0":
        return end
    begin = amtool("silence", "add", matcher, f"--duration={duration}", f"--author={author}", "--comment=make silence")
    # The new silence begins before the old one ends.
    return f'old={query} || exit; {begin} || exit; [ -z "$old" ] || {amtool("silence", "expire")} $old'


def alerts(target: Target) -> int:
    """Prints for every host the alerts that fire and the silences; returns 1 when no alert would get through.

    Raises:
        CommandError: there is no host, or Alertmanager does not answer.
    """
    broken = False
    for one in host.several(target):
        say(f"▸ {one.name}")
        # One command for all: starting a process in the container takes half a second.
        answers: list[list[str]] = [[]]
        commands = f" && echo {SEPARATOR} && ".join(command for _, command in listing())
        for line in _run(target, one, commands).splitlines():
            answers.append([]) if line == SEPARATOR else answers[-1].append(line)
        for (heading, _), lines in zip(listing(), answers, strict=True):
            # The first line is the table's header.
            none = len(lines) < 2
            if heading == WATCHDOG:
                broken = broken or none
                if none:
                    say("  ✗ no alert gets through: Alertmanager receives nothing from Prometheus; see `make status`")
                continue
            say(f"  {heading}: none" if none else "\n".join([f"  {heading}", *(f"    {x}" for x in lines)]))
    return int(broken)


def silence(target: Target, alert: str, for_: str, host_: str) -> None:
    """Silences an alert on every host, or on the one of this name, for a time; ``0`` ends it.

    Raises:
        CommandError: no alert was given, no rule has its name, or Alertmanager does not answer.
    """
    duration = for_ or "2h"
    if not alert:
        raise CommandError("ALERT is missing: `make silence ALERT=DiskFull FOR=2h`; `make alerts` lists the alerts")
    # Alertmanager takes any name; a misspelt one would silence nothing.
    rules = "\n".join(file.read_text() for file in RULES.glob("*.yml"))
    known = re.findall(r"^ *- alert: (\w+)$", rules, re.MULTILINE)
    if alert not in known:
        help_ = near(alert, known) or "docs/operations.md lists the alerts"
        raise CommandError(f"ALERT: no rule is named {alert}: {help_}")
    for one in host.several(target, host_):
        _run(target, one, silencing(alert, duration, getpass.getuser()))
        what = "is not silenced" if duration == "0" else f"is silenced for {duration}"
        say(f"▸ {one.name}: {alert} {what}")


def _run(target: Target, one: host.Host, command: str) -> str:
    done = host.run(target, one, f"{CONTAINER} sh -c {shlex.quote(command)}")
    if done.returncode:
        raise CommandError(f"{one.name}: Alertmanager failed: {last_line(done.stderr)}; see `make status`")
    return done.stdout
