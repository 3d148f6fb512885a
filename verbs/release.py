"""``make release``, ``make rollback`` and ``make releases``: the playbooks, who is asking, and what Ctrl-C does."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import getpass
import json
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sandbox.progress import say
from verbs import host, image
from verbs.environment import ROOT, Target
from verbs.errors import VerbError

COMMAND = "sudo comentarios-release"
# Marks the processes of a run, in their environment.
RUN = "COMENTARIOS_RUN"
PR_SET_PDEATHSIG = 1


def release(target: Target) -> None:
    """Builds and pushes the working tree's image (or takes TAG's), and rolls it out with its configuration.

    Raises:
        VerbError: TAG is not in ECR, somebody else releases, or the release failed or was rolled back: why.
    """
    begin = time.monotonic()
    play(target, "playbooks/release.yml", stack_api_tag=image.ensure(target))
    say(f"✓ released in {time.monotonic() - begin:.0f} s; `make releases` lists all, `make rollback` goes back")


def rollback(target: Target) -> None:
    """Goes back to the last good release, or to the one that TO names by number or tag.

    Raises:
        VerbError: there is none, its image is not to be had any more, or it does not run: why.
    """
    begin = time.monotonic()
    play(target, "playbooks/rollback.yml", release_to=os.environ.get("TO") or "")
    say(f"✓ rolled back in {time.monotonic() - begin:.0f} s")


def releases(target: Target) -> None:
    """Prints every release on the list, the newest first; ``*`` marks the live one."""
    for one in host.hosts(target):
        known = listing(target, one)
        say(f"{one.name}  ({known['lock']['owner']} is releasing now)" if known["lock"] else one.name)
        row = "{:1} {:>4}  {:<20}  {:<24} {:<13} {:<28} {:>7}  {}"
        say(row.format("", "", "when (UTC)", "tag", "commit", "by", "took", "how it ended"))
        for entry in reversed(known["releases"]):
            say(row.format(*_columns(entry, known["live"])).rstrip())


def play(target: Target, playbook: str, **variables: Any) -> None:
    """Runs a playbook that may release, under a name that others are told when they want to release meanwhile.

    WATCH and READY of the environment bound how long a release is watched and may take to get ready, in seconds.

    Raises:
        VerbError: it failed, with the release's own reason where there is one, or it was interrupted.
    """
    bounds = {"release_watch_seconds": "WATCH", "release_ready_seconds": "READY"}
    variables |= {name: int(os.environ[given]) for name, given in bounds.items() if os.environ.get(given)}
    host.greet(target)
    with _named_run(target) as (token, abandoned):
        variables |= {"release_owner": owner(), "release_token": token, "release_abandoned": ",".join(abandoned)}
        command = ["ansible-playbook", playbook, "--extra-vars", extra_variables(variables)]
        environment = {**target.environment(), RUN: token}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, preexec_fn=_end_with_parent)
        try:
            status = process.wait()
        except KeyboardInterrupt:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            ended = [_on_host(target, one, f"cancel --token {token}", 240).get("outcome") for one in host.hosts(target)]
            what = "the release was undone" if "cancelled" in ended else "no release was under way"
            raise VerbError(f"interrupted: {what}, and the lock is given back") from None
        if status:
            raise VerbError(_reason(target, token) or f"{playbook} failed (see above); the same command carries on")


def listing(target: Target, one: host.Host) -> dict[str, Any]:
    """What a host knows of its releases: ``live`` (a number), ``releases`` (the oldest first), ``lock``.

    Raises:
        VerbError: it does not answer, or has none yet.
    """
    known = _on_host(target, one, "list")
    if not known:
        raise VerbError(f"{one.name} knows of no release: run `make up`")
    return known


def owner() -> str:
    """Who is asking, for others to read."""
    if os.environ.get("GITHUB_ACTIONS"):
        return f"{os.environ['GITHUB_ACTOR']} (workflow run {os.environ['GITHUB_RUN_ID']})"
    return f"{getpass.getuser()}@{socket.gethostname()}"


def extra_variables(variables: dict[str, Any]) -> str:
    """Variables for ansible-playbook, as YAML in which a text is never a template."""
    return "{" + ", ".join(f"{name}: {_plain(value)}" for name, value in variables.items()) + "}"


def _plain(value: Any) -> str:
    return ("!unsafe " if isinstance(value, str) else "") + json.dumps(value)


@contextlib.contextmanager
def _named_run(target: Target) -> Iterator[tuple[str, list[str]]]:
    """A new token, and the tokens of runs that began here and died. Others see that this run lives while it is open."""
    folder = target.state / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    abandoned = [path.name for path in folder.iterdir() if not _held(path)]
    _end_workers(abandoned)
    token = secrets.token_hex(8)
    file = folder / token
    with file.open("w") as stream:
        try:
            # Of this process alone: what it starts does not hold it on.
            fcntl.lockf(stream, fcntl.LOCK_EX)
            yield token, abandoned
            # Its lock is taken over or expired by now.
            for name in abandoned:
                (folder / name).unlink(missing_ok=True)
        finally:
            file.unlink(missing_ok=True)


def end_abandoned_runs(target: Target) -> None:
    """Ends what runs that were killed have left behind on this machine."""
    folder = target.state / "runs"
    if folder.exists():
        _end_workers([path.name for path in folder.iterdir() if not _held(path)])


def _held(path: Path) -> bool:
    with path.open("r+") as stream:
        try:
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _end_with_parent() -> None:
    # Killed or not, this process takes Ansible along: nobody goes on with a run whose lock another may take.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_workers(tokens: list[str]) -> None:
    """Ends the workers of these runs: they are sessions of their own, and wait for ever when Ansible was killed."""
    marks = {f"{RUN}={token}".encode() for token in tokens}
    for environ in Path("/proc").glob("[0-9]*/environ") if marks else ():
        with contextlib.suppress(OSError):
            if marks & set(environ.read_bytes().split(b"\0")):
                os.kill(int(environ.parent.name), signal.SIGKILL)


def _reason(target: Target, token: str) -> str:
    """Why this run's release did not end well; gives the lock back where no release came of the run."""
    for one in host.hosts(target):
        _on_host(target, one, f"unlock --token {token}")
        for entry in _on_host(target, one, "list").get("releases", []):
            if entry["token"] == token and entry["reason"]:
                return (
                    f"release {entry['number']} of {entry['tag']} {entry['outcome']} on {one.name}: {entry['reason']}"
                )
    return ""


def _on_host(target: Target, one: host.Host, command: str, timeout: float = 60) -> dict[str, Any]:
    done = host.run(target, one, f"{COMMAND} {' '.join(map(shlex.quote, shlex.split(command)))}", timeout)
    return json.loads(done.stdout) if done.returncode == 0 else {}


def _columns(entry: dict[str, Any], live: int | None) -> list[str]:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry["started"]))
    took = f"{entry['finished'] - entry['started']:.0f} s" if entry["finished"] else ""
    back = f", back to {entry['origin']}" if entry["kind"] == "rollback" else ""
    why = f": {entry['reason'].splitlines()[0]}" if entry["reason"] else ""
    ended = f"{entry['outcome']} ({entry['kind']}{back}){why}"
    mark = "*" if entry["number"] == live else ""
    return [mark, str(entry["number"]), when, entry["tag"], entry["commit"][:12], entry["owner"], took, ended]
