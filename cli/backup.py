"""``make backup``, ``make backups`` and ``make restore``: copies of the comments in S3.

The host makes and restores them: roles/backup/files/comentarios_backup.
"""

import json
import shlex
from typing import Any

from cli import host
from cli.targets import Target
from common.errors import CommandError, last_line
from common.progress import say, step


def backup(target: Target, host_: str = "") -> None:
    """Makes a backup now and prints what is in it.

    Raises:
        CommandError: it failed; the message is the host's.
    """
    with step("backup: copying, checking and uploading the comments"):
        made = _call(target, "run", host_)
    say(f"  {made['name']}: {made['comments']} comments, {made['size']} bytes, release {made['release'] or 'none'}")


def backups(target: Target, host_: str = "") -> None:
    """Lists the backups, the oldest first."""
    row = "{:<40} {:>10} {:>12}  {}"
    say(row.format("name", "comments", "bytes", "release"))
    for one in _call(target, "list", host_):
        say(row.format(one["name"], one.get("comments", "-"), one.get("size", "-"), one.get("release", "not of ours")))


def restore(target: Target, from_: str = "", host_: str = "") -> dict[str, Any]:
    """Replaces the database by a backup: the one of this name, or the newest. The old database is kept.

    Raises:
        CommandError: there is no such backup, it is corrupt or foreign, a release is under way, or the API does not
            start with it.
    """
    with step(f"restore: {from_ or 'the newest backup'}"):
        done: dict[str, Any] = _call(target, f"restore --from={shlex.quote(from_)}", host_)
    say(f"  {done['comments']} comments of {done['restored']['name']} are live; before, there were {done['before']}")
    if done["kept"]:
        say(f"  the old database is kept: {done['kept']}")
    if done["newer"] and not done["before"]:
        again = f"`make restore FROM={done['newer']}`, then this one again"
        say(f"  newer backups have the log of comments that were hidden or erased later: to apply it, {again}")
    return done


def _call(target: Target, command: str, name: str) -> Any:
    done = host.run(target, host.chosen(target, name), f"sudo comentarios-backup {command}", timeout=3600)
    if done.returncode:
        raise CommandError(last_line(done.stderr, "the host does not answer"))
    return json.loads(done.stdout)
