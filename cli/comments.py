"""``make comments``, ``hide``, ``unhide``, ``erase`` and ``audit``: a program in the API's container, over SSH.

Its input is JSON on standard input, so no shell, process list or log contains it.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from cli import backup, host, inputs, release
from cli.targets import Target
from cli.terraform import account, client
from common.errors import CommandError, last_line
from common.progress import say, step

# The newest container: during a release, the new image's.
COMMAND = """id=$(docker ps --quiet --filter label=com.docker.compose.service=api | head -n 1)
[ -n "$id" ] || { echo 'no replica of the API is running: see make status' >&2; exit 1; }
exec docker exec --interactive "$id" python -m comentarios.moderate"""
# Lines that a table has at most.
ROWS = 50
ERASE_SECONDS = 3600


def comments(
    target: Target,
    thread: str = "",
    email: str = "",
    grep: str = "",
    since: str = "",
    until: str = "",
    host_: str = "",
) -> None:
    """Prints the newest comments that match, hidden ones too.

    Raises:
        CommandError: a time is wrong, or the API's container does not answer.
    """
    times = {"since_ms": _milliseconds("SINCE", since), "until_ms": _milliseconds("UNTIL", until)}
    found = _ask(target, host_, "search", limit=ROWS + 1, thread=thread, email=email, text=grep, **times)["done"]
    if not found:
        # A filter may be misspelt, or come from the environment.
        given = {"THREAD": thread, "EMAIL": email, "GREP": grep, "SINCE": since, "UNTIL": until}
        asked = " ".join(f"{name}={_cut(text, 100)}" for name, text in given.items() if text)
        say(f"there is no comment with {asked}" if asked else "there is no comment")
        return
    row = "{:>8}  {:<23}  {:<6}  {:<20}  {:<30}  {}"
    say(row.format("id", "when (UTC)", "", "thread", "address", "comment"))
    for one in found[:ROWS]:
        shown = (_cut(one["thread"], 20), _cut(one["email"], 30), _cut(one["comment"], 80))
        say(row.format(one["id"], _when(one["created_ms"]), "hidden" if one["hidden"] else "", *shown).rstrip())
    if len(found) > ROWS:
        say(f"there are more: narrow the search, or continue with UNTIL={_when(found[ROWS - 1]['created_ms'] + 1)}")


def hide(target: Target, id_: str, why: str, host_: str = "") -> None:
    """Hides comments from everybody but ``make comments``.

    Raises:
        CommandError: ID or WHY is missing, or there is no such comment; nothing was changed.
    """
    _move(target, "hide", "hidden", id_, why, host_)


def unhide(target: Target, id_: str, why: str, host_: str = "") -> None:
    """Undoes ``make hide``.

    Raises:
        CommandError: as `hide`.
    """
    _move(target, "unhide", "visible", id_, why, host_)


def erase(target: Target, email: str, why: str, host_: str = "") -> None:
    """Erases every comment and trace of an address, then makes a backup that does not have them.

    Raises:
        CommandError: EMAIL or WHY is missing, or it failed; running it again continues.
    """
    _require("erase EMAIL=alice@example.com WHY='she asked for it'", EMAIL=email, WHY=why)
    if not re.fullmatch(r"\S+@\S+", email):
        raise CommandError(f"EMAIL={_cut(email, 100)} is not an e-mail address: give one as `make comments` shows it")
    retention = _retention(target)
    with step("erase: every comment and trace of the address"):
        found = _ask(target, host_, "erase", email=email, why=why, who=release.owner(target.environment()))
    own, texts = found["done"]
    say(f"  erased: {own} comments of the address, and the address in {texts} others")
    if kept := ", ".join(found["kept"]):
        say(f"  databases that a restore has kept may still contain it: {kept} (docs/operations.md#backups)")
    say(f"  {retention}")
    backup.backup(target, host_)


def audit(target: Target, host_: str = "") -> None:
    """Prints the newest entries of the audit log: who changed what, when and why.

    Raises:
        CommandError: the API's container does not answer.
    """
    found = _ask(target, host_, "audit", limit=ROWS)["done"]
    row = "{:<23}  {:<7}  {:<20}  {:>8}  {:<24}  {}"
    say(row.format("when (UTC)", "what", "comment or address", "comments", "who", "why"))
    for one in found:
        what, shown = one["action"], one["subject"]
        shown = f"sha256 {shown[:12]}…" if what == "erase" else shown.partition("@")[0]
        count = one["comments"] if one["done_ms"] else "not done"
        say(row.format(_when(one["id"]), what, shown, count, _cut(one["who"], 24), _cut(one["why"], 100)))


def _move(target: Target, action: str, state: str, ids: str, why: str, host_: str) -> None:
    _require(f"{action} ID=57 WHY=spam; `make comments` lists the ids", ID=ids, WHY=why)
    numbers = [int(one) for one in ids.split()]
    moved = _ask(target, host_, action, ids=numbers, why=why, who=release.owner(target.environment()))["done"]
    for number in dict.fromkeys(numbers):
        say(f"comment {number} is {state}" if number in moved else f"comment {number} was already {state}")


def _require(example: str, **given: str) -> None:
    if missing := [name for name, value in given.items() if not value.strip()]:
        raise CommandError(f"{' and '.join(missing)} must be given: make {example}")


def _ask(target: Target, name: str, action: str, **asked: Any) -> Any:
    """The reply of `python -m comentarios.moderate`."""
    chosen = host.chosen(target, name)
    done = host.run(target, chosen, COMMAND, ERASE_SECONDS, json.dumps({"do": action, **asked}))
    if done.returncode:
        said = last_line(done.stderr, f"exit status {done.returncode}: run the same command again")
        if "No module named comentarios.moderate" in said:
            said = "the live release is too old for this: run `make release`"
        raise CommandError(f"{chosen.name}: {said}")
    return json.loads(done.stdout)


def _retention(target: Target) -> str:
    """For how long the backups that exist now are kept, by the bucket's own rules."""
    s3 = client(target, "s3")
    bucket = target.names.backup_bucket(account(target), s3.meta.region_name)
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    # Logs contain no comments.
    ours = (rule for rule in rules if not rule.get("Filter", {}).get("Prefix", "").startswith("logs/"))
    kept = [rule["Expiration"]["Days"] for rule in ours if "Expiration" in rule]
    if not kept:
        return "existing backups still contain it, and nothing expires while the site is parked"
    deleted = max(rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays", 0) for rule in rules)
    # S3 rounds each of the two up to the next midnight.
    last = datetime.now(UTC) + timedelta(days=max(kept) + deleted + 2)
    return (
        f"existing backups still contain it, until {last:%Y-%m-%d} at the latest: they expire after {min(kept)} days, "
        f"each day's first after {max(kept)}, and S3 keeps deleted ones for {deleted} more"
    )


def _milliseconds(name: str, given: str) -> int | None:
    return round(inputs.parse_time(name, given).timestamp() * 1000) if given else None


def _when(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}"


def _cut(text: str, width: int) -> str:
    """Anybody's text in a column: one line, with nothing in it that a terminal obeys."""
    shown = "".join(letter if letter.isprintable() else "·" for letter in text[: width + 1])
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"
