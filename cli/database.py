"""``make move-database``: the comments go to another database while the site serves."""

from cli import host, release, up
from cli.targets import Target
from common.errors import CommandError
from common.progress import say

SQLITE = "sqlite"


def move_database(target: Target, to: str, watch: str = "", ready: str = "") -> None:
    """Moves the comments to the database whose URL a parameter holds, or back to SQLite, and keeps the old database.

    The host carries it out (`comentarios-release`, `comentarios.move`); run again, this carries on.

    Raises:
        CommandError: the settings name another database, there are several hosts, or the move failed and was undone.
    """
    path = f"/{target.names.name}/"
    if to != SQLITE and not to.startswith(path):
        raise CommandError(
            f"TO={to} is not a database: give the parameter of SSM Parameter Store that holds PostgreSQL's URL, "
            f"such as {path}database_url, or {SQLITE}"
        )
    wanted = "" if to == SQLITE else to
    one = _only_host(target)
    if one.database != wanted:
        # The edge must be able to hold writes, and a move does not change it.
        release.play(target, "release", "playbooks/release.yml", watch, ready)
        up.apply_terraform(target)
        one = _only_host(target)
    if one.database != wanted:
        line = f"set `database_url_parameter: {to}`" if wanted else "remove `database_url_parameter`"
        raise CommandError(
            f"the settings name {one.database or SQLITE}: {line} under `terraform:`, then run this again"
        )
    entries = release.play(target, "move", "playbooks/release.yml", watch, ready, stack_move=True)
    moves = [entry for entry in entries if entry["kind"] == "move"]
    if not moves:
        say(f"✓ nothing to move: {to} is already the live database")
    for entry in moves:
        say(f"✓ moved to {to}: release {entry['number']} on {entry['host']}; writes waited {entry['held_seconds']:g} s")
        say("  the old database is kept and refuses writes; `make move-database` also moves back")


def _only_host(target: Target) -> host.Host:
    found = host.wait_for_ssh(target)
    if len(found) > 1:
        names = ", ".join(one.name for one in found)
        raise CommandError(f"there are several hosts ({names}): set instance_count to 1, run `make up`, then move")
    return found[0]
