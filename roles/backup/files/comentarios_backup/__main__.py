"""``comentarios-backup``: run, list, restore, logs. Prints JSON; errors are one line on stderr."""

import argparse
import fcntl
import json
import os
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Role stack installs it beside this program.
from comentarios_release.settings import ReleaseError
from comentarios_release.textfile import write_metrics

from . import logs
from .postgresql import Postgresql
from .settings import BackupError, ForeignError, Settings
from .sqlite import Sqlite
from .stack import Stack
from .store import CONNECTIONS, VERSION_SEPARATOR, Store, made_at


def run(settings: Settings) -> dict[str, Any]:
    """Makes a backup: a consistent copy that is opened, counted, uploaded and verified in S3."""
    begin, database = time.time(), _database(settings)
    with _work_folder(settings, database.user) as (copy, packed):
        database.dump(copy)
        try:
            comments = database.check(copy)
        finally:
            database.forget()
        store = Store(settings)
        name = store.new_name(begin) + f"-{secrets.token_hex(2)}{database.suffix}"
        made = store.put(copy, packed, name, comments, Stack().release())
    metrics = {
        "comentarios_backup_last_success_timestamp_seconds": (
            "When the newest backup was made and verified.",
            "",
            begin,
        ),
        "comentarios_backup_size_bytes": ("Size of the newest backup, compressed.", "", made.size),
        "comentarios_backup_comments": ("Comments in the newest backup.", "", made.comments),
        "comentarios_backup_duration_seconds": ("How long the newest backup took.", "", time.time() - begin),
    }
    write_metrics(settings.metrics_file, metrics)
    return asdict(made)


def list_(settings: Settings) -> list[dict[str, Any]]:
    """All backups, the oldest first. Foreign objects have a name only."""
    store = Store(settings)

    def facts(name: str) -> dict[str, Any]:
        try:
            return asdict(store.get(name))
        except ForeignError:
            return {"name": name}

    # One request to S3 for each: a month has three thousand.
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(facts, store.names()))


def restore(settings: Settings, name: str) -> dict[str, Any]:
    """Replaces the database by a backup (by default, the newest), and keeps the old database.

    Everything that can be wrong with the backup is found before anything is touched. Then releases are kept away, the
    API stops, the databases are swapped, the API starts. If it does not become ready, the old database is put back.
    """
    store, stack, database = Store(settings), Stack(), _database(settings)
    # The name of an overwritten backup ends with its version.
    names = [one for one in store.names() if one.endswith(database.suffix)]
    if not name:
        if not names:
            raise BackupError(f"s3://{settings.bucket}/{settings.prefix} has no backup of this kind of database")
        name = names[-1]
    chosen = store.get(name)
    if not name.partition(VERSION_SEPARATOR)[0].endswith(database.suffix):
        raise BackupError(f"{name} is of another kind of database: choose one that ends in {database.suffix}")
    with _work_folder(settings, database.user) as (copy, packed):
        store.fetch(chosen, packed, copy)
        try:
            comments = database.check(copy)
            if comments != chosen.comments:
                raise BackupError(
                    f"{chosen.name} holds {comments} comments and was made with {chosen.comments}: choose another"
                )
            with stack.held():
                kept, before = _swapped(stack, database, copy)
        finally:
            database.forget()
    # Only newer backups have the audit log of later changes, unless the old database had it.
    newer = names[-1] if names and made_at(names[-1]) > made_at(name) else ""
    return {"restored": asdict(chosen), "comments": comments, "before": before, "kept": kept, "newer": newer}


def _swapped(stack: Stack, database: Sqlite | Postgresql, copy: Path) -> tuple[str, int]:
    """Swaps the databases while the API is stopped; returns the old one's name, if any, and its number of comments."""
    replicas, kept, begun = stack.stop(), database.name_kept(), False
    try:
        before = database.count()
        begun = True
        was_there = database.swap(copy, kept)
        stack.start(replicas)
    except BaseException:
        if begun:
            stack.stop()
            database.swap_back(kept)
        stack.start(replicas)
        raise
    return kept if was_there else "", before


def _database(settings: Settings) -> Sqlite | Postgresql:
    return Postgresql(settings.database_url) if settings.database_url else Sqlite(settings.sqlite_file)


@contextmanager
def _work_folder(settings: Settings, user: int) -> Iterator[tuple[Path, Path]]:
    """Places for a copy of the database, in a folder that its user may read and write, and for the compressed one, in
    root's folder. A second process waits.
    """
    # The user can pass through root's folder to the copy's folder, but not list it.
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    settings.work_dir.chmod(0o711)
    descriptor = os.open(settings.work_dir / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        folder = settings.work_dir / "now"
        # The leftover of an interrupted run.
        shutil.rmtree(folder, ignore_errors=True)
        database = folder / "database"
        database.mkdir(parents=True)
        folder.chmod(0o711)
        database.chmod(0o770)
        os.chown(database, user, -1)
        try:
            yield database / "copy", folder / "packed"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def main() -> int:
    parser = argparse.ArgumentParser(prog="comentarios-backup")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="make a backup now")
    commands.add_parser("list", help="list the backups, the oldest first")
    commands.add_parser("restore", help="replace the database by a backup").add_argument(
        "--from", dest="name", default=""
    )
    commands.add_parser("logs", help="send the lines that were logged since the last time")
    arguments = parser.parse_args()
    given = [arguments.name] if arguments.command == "restore" else []
    # Both signals make a restore put the old database back.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("interrupted"))
    try:
        settings = Settings.read()
        act: dict[str, Callable[..., Any]] = {"run": run, "list": list_, "restore": restore, "logs": logs.send}
        done = act[arguments.command](settings, *given)
    except (BackupError, ReleaseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(done))
    return 0


if __name__ == "__main__":
    sys.exit(main())
