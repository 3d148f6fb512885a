"""``make release``, ``make rollback`` and ``make releases``: run the playbooks and show the progress.

The host rolls a release out: roles/stack/files/comentarios_release/rollout.py.
"""

import getpass
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from subprocess import CompletedProcess
from typing import Any

from cli import host, image, settings
from cli.targets import Target
from common.errors import CommandError, last_line
from common.paths import ROOT
from common.progress import Step, failure, in_terminal, logged, say, step

# Prints nothing on a host that never had a release.
LIST = """sudo sh -c 'set -- /opt/comentarios/releases/*/release.json; [ ! -e "$1" ] || comentarios-release list'"""


def release(target: Target, tag: str, rebuild: str, watch: str, ready: str) -> None:
    """Builds and pushes the working tree's image, or takes the given tag, and rolls it out with its configuration.

    Raises:
        CommandError: the tag is not in ECR, another release is under way, or the release failed or was rolled back.
    """
    begin = time.monotonic()
    tag = image.ensure_pushed(target, tag, rebuild == "yes")
    entries = play(target, "release", "playbooks/release.yml", watch, ready, stack_api_tag=tag)
    say(
        _outcome(entries, "released", begin)
        or "✓ nothing to release: this image and this configuration are already live"
    )


def rollback(target: Target, to: str, watch: str, ready: str) -> None:
    """Rolls back to the good release before the live one, or to the one with this number or tag.

    Changes nothing if the live release is a rollback already, so a rerun is safe; `to` goes further back.

    Raises:
        CommandError: there is none, its image is no longer available, or it does not start.
    """
    begin = time.monotonic()
    entries = play(target, "rollback", "playbooks/rollback.yml", watch, ready, stack_rollback_to=to)
    why = f"{to} is live already" if to else "a rollback is live; TO=, one of `make releases`, goes further back"
    say(_outcome(entries, "rolled back", begin) or f"✓ nothing to roll back: {why}")


def _outcome(entries: list[dict[str, Any]], what: str, begin: float) -> str:
    """The last line of output for these releases; empty if there are none."""
    made = ", ".join(f"{entry['tag']} is release {entry['number']} on {entry['host']}" for entry in entries)
    return made and f"✓ {what}: {made} ({time.monotonic() - begin:.0f} s); `make releases` lists all"


def releases(target: Target) -> None:
    """Prints all releases, the newest first; ``*`` marks the live one."""
    for one in host.hosts(target):
        known = listing(target, one)
        say(f"{one.name}  ({known['by']} is releasing)" if known["by"] else one.name)
        row = "{:1} {:>4}  {:<20}  {:<24} {:<13} {:<28} {:>7}  {}"
        say(row.format("", "", "when (UTC)", "tag", "commit", "by", "took", "outcome"))
        for entry in reversed(known["releases"]):
            say(row.format(*_columns(entry, known["live"])).rstrip())


def play(
    target: Target, what: str, playbook: str, watch: str = "", ready: str = "", **variables: Any
) -> list[dict[str, Any]]:
    """Runs a playbook that may release. Others who want to release meanwhile are told the owner's name.

    Args:
        watch: seconds for which a release is watched; empty for the roles' default.
        ready: seconds that a release may take to get ready.

    Returns:
        The releases that it made, at most one per host.

    Raises:
        CommandError: it failed or was interrupted; if a release failed, its reason.
    """
    bounds = {"stack_watch_seconds": watch, "stack_ready_seconds": ready}
    variables |= {name: int(seconds) for name, seconds in bounds.items() if seconds}
    settings.apply(target)
    log = target.state / "logs" / f"ansible-{what}.log"
    run = secrets.token_hex(8)
    with step(f"ansible: {playbook}") as shown:
        shown.detail = "waiting for SSH"
        found = host.wait_for_ssh(target)
        variables |= {"stack_owner": owner(target.environment()), "stack_run": run}
        command = ["ansible-playbook", playbook, "--extra-vars", extra_variables(variables)]
        follower = Follower(target, found, run, shown)
        try:
            # Without this, Ansible names a task only after it has ended.
            environment = {**target.environment(), "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "yes"}
            status = logged(command, log, cwd=ROOT, env=environment, each=follower.line, grace=10)
        except KeyboardInterrupt:
            ended = {
                one.name: host.run(target, one, f"sudo comentarios-release cancel --run {run}", 240) for one in found
            }
            raise CommandError(f"interrupted: {_cancelled(ended)}") from None
        finally:
            follower.end()
        # A new group membership takes effect with the next connection.
        host.end_connections(target)
        if status:
            entries = [entry | {"host": one.name} for one in found for entry in _of_run(target, one, run)]
            raise CommandError(_reason(entries) or failure(f"{playbook} failed", log))
        known = {one.name: _known(target, one) for one in found}
    return [
        entry | {"host": name} for name, listed in known.items() for entry in listed["releases"] if entry["run"] == run
    ]


class Follower:
    """Shows Ansible's current task, and then the progress of each host's release."""

    def __init__(self, target: Target, hosts: list[host.Host], run: str, shown: Step) -> None:
        self._target, self._hosts, self._run, self._shown = target, hosts, run, shown
        self._over = threading.Event()
        self._watcher: threading.Thread | None = None

    def line(self, line: str) -> None:
        if found := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\] \**$", line):
            self._shown.detail = found[1]
            if not self._watcher and re.search(r"Roll (out what differs|back)$", found[1]):
                self._watcher = threading.Thread(target=self._watch, daemon=True)
                self._watcher.start()
        elif found := re.match(r"(\S+) +: ok=(\d+) +changed=(\d+) +unreachable=(\d+) +failed=(\d+)", line):
            name, ok, changed, unreachable, failed = found.groups()
            recap = f"{name} ok={ok} changed={changed} unreachable={unreachable} failed={failed}"
            self._shown.result = "; ".join(filter(None, [self._shown.result, recap]))

    def end(self) -> None:
        self._over.set()
        if self._watcher:
            self._watcher.join()

    def _watch(self) -> None:
        """Shows the step that a release has reached, and a countdown while it is watched."""
        told: set[str] = set()
        # Each look costs both machines a fifth of a second of CPU; without a moving line, few of them are shown.
        while not self._over.wait(1 if in_terminal() else 4):
            for one in self._hosts:
                for entry in _of_run(self._target, one, self._run):
                    since, length = entry["times"].get("stopped"), entry["watch_seconds"]
                    if entry["finished"]:
                        continue
                    if not since or not length:
                        copied = entry["copied"]
                        doing = f"comparing {copied['done']:,} of {copied['of']:,} comments" if copied else ""
                        self._shown.detail = f"release {entry['number']} on {one.name}: {doing or entry['phase']}"
                        continue
                    if one.name not in told:
                        told.add(one.name)
                        say(f"  {one.name}: release {entry['number']} is live and is watched for {length} s")
                    left = max(0, round(since + length - time.time()))
                    self._shown.detail = f"watching release {entry['number']}: {left} s left, {counted(entry['seen'])}"


def counted(seen: dict[str, int] | None) -> str:
    """What the watch has counted so far."""
    return f"{seen['requests']:,} requests, {seen['errors']:,} errors" if seen else "no requests yet"


def _of_run(target: Target, one: host.Host, run: str) -> list[dict[str, Any]]:
    """The releases that a run made on a host; none if the host does not answer."""
    try:
        return [entry for entry in _known(target, one)["releases"] if entry["run"] == run]
    except CommandError:
        return []


def listing(target: Target, one: host.Host) -> dict[str, Any]:
    """A host's releases: ``live`` (a number), ``releases`` (the oldest first), ``by`` (who is releasing).

    Raises:
        CommandError: the host does not answer, or has no release.
    """
    known = _known(target, one)
    if not known["releases"]:
        raise CommandError(f"{one.name} has no release: run `make up`")
    return known


def live(target: Target) -> dict[str, str]:
    """The name of each host and the tag of its live image; empty on a host without a release.

    Raises:
        CommandError: EC2 or a host does not answer.
    """
    known = {one.name: _known(target, one) for one in host.hosts(target)}
    return {
        name: next((entry["tag"] for entry in listed["releases"] if entry["number"] == listed["live"]), "")
        for name, listed in known.items()
    }


def _known(target: Target, one: host.Host) -> dict[str, Any]:
    """The output of `comentarios-release list`. A host without a release may not have the program yet.

    Raises:
        CommandError: the host does not answer. It is not taken for one without a release.
    """
    done = host.run(target, one, LIST)
    if done.returncode:
        raise CommandError(f"{one.name} does not list its releases: {last_line(done.stderr, 'no answer')}")
    known: dict[str, Any] = json.loads(done.stdout.strip() or '{"live": null, "releases": [], "by": null}')
    return known


def owner(environment: Mapping[str, str]) -> str:
    """Who releases, as shown to others."""
    if environment.get("GITHUB_ACTIONS"):
        return f"{environment['GITHUB_ACTOR']} (workflow run {environment['GITHUB_RUN_ID']})"
    return f"{getpass.getuser()}@{socket.gethostname()}"


def extra_variables(variables: dict[str, Any]) -> str:
    """Variables for ansible-playbook, as YAML that marks every text as not a template."""
    return "{" + ", ".join(f"{name}: {_plain(value)}" for name, value in variables.items()) + "}"


def _plain(value: Any) -> str:
    # Ansible reads an empty text that is marked as null.
    return ("!unsafe " if isinstance(value, str) and value else "") + json.dumps(value)


def _cancelled(ended: dict[str, CompletedProcess[str]]) -> str:
    """How an interrupted release ended, from each host's answer."""
    silent = [name for name, done in ended.items() if done.returncode]
    if silent:
        return f"{', '.join(silent)} does not answer: check the release with `make releases`"
    outcomes = {json.loads(done.stdout)["outcome"] for done in ended.values()} - {None}
    if outcomes <= {"cancelled"}:
        return "the release was undone" if outcomes else "no release was under way"
    return f"the release had already ended: {', '.join(sorted(outcomes - {'cancelled'}))}; `make releases` lists it"


def _reason(entries: list[dict[str, Any]]) -> str:
    """Why a run's release failed; empty if none failed."""
    for entry in entries:
        if entry["reason"]:
            ended = f"release {entry['number']} of {entry['tag']} {entry['outcome']} on {entry['host']}"
            return f"{ended}: {entry['reason']}"
    return ""


def _columns(entry: dict[str, Any], live: int | None) -> list[str]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry["started"]))
    took = f"{entry['finished'] - entry['started']:.0f} s" if entry["finished"] else ""
    back = f", back to {entry['origin']}" if entry["kind"] == "rollback" else ""
    why = f": {entry['reason'].splitlines()[0]}" if entry["reason"] else ""
    ended = f"{entry['outcome']} ({entry['kind']}{back}){why}"
    mark = "*" if entry["number"] == live else ""
    return [mark, str(entry["number"]), when, entry["tag"], entry["commit"][:12], entry["owner"], took, ended]
