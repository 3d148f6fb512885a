"""``comentarios-release``: what Ansible and the verbs call on the host. Prints JSON; errors are one line on stderr."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import files
from .edge import Edge
from .engine import Engine, image_of
from .lock import LockFile
from .records import GOOD, PHASES, Record, Records
from .rollout import Rollout
from .settings import FILE, ReleaseError, Settings

UNIT = "comentarios-release.service"
# Undoing is tried so often, every few seconds, before whoever waits for it is told.
UNDO_TRIES = 5

Result = dict[str, Any]


def _systemctl(*arguments: str) -> str:
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


class Command:
    """The verbs; each returns what is printed as JSON."""

    def __init__(
        self,
        settings: Settings,
        arguments: argparse.Namespace,
        engine: Engine,
        rollout: Callable[[Record], Rollout],
        *,
        systemctl: Callable[..., str] = _systemctl,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._settings = settings
        self._arguments = arguments
        self._records = Records(settings.releases)
        self._engine = engine
        self._rollout = rollout
        self._lock = LockFile(settings.releases)
        self._systemctl = systemctl
        self._sleep = sleep

    def lock(self) -> Result:
        """Takes the lock, after what an interrupted release left behind was brought to its end."""
        given = self._arguments
        abandoned = tuple(token for token in given.abandoned.split(",") if token)
        ended = None
        holder, record = self._lock.holder(), self._records.unfinished()
        if record and (holder is None or holder.token in (given.token, *abandoned)):
            # Whoever began it is gone. It is the unit's work, which still runs, or is started again here.
            self._systemctl("start", UNIT)
            ended = self._records.get(record.number)
            if ended.finished is None:
                raise ReleaseError(
                    f"release {ended.number} was interrupted and cannot be brought to an end: `journalctl -u {UNIT}`"
                )
        self._lock.take(given.owner, given.token, given.seconds, abandoned)
        return {"ended": ended and {"number": ended.number, "outcome": ended.outcome, "reason": ended.reason}}

    def unlock(self) -> Result:
        self._lock.release(self._arguments.token)
        return {}

    def apply(self) -> Result:
        """Makes a release of what Ansible wrote, unless it is what runs already; the unit carries it out."""
        return self._hold(self._apply)

    def _apply(self) -> Result:
        staged, in_place = files.listing(self._settings.staged), files.listing(self._settings.stack_dir)
        wanted = staged | {name: path for name, path in in_place.items() if name.split("/")[0] in files.IN_PLACE}
        self._put_together(wanted)
        configuration, live = self._records.new / "config", self._records.live()
        image, identity = image_of(configuration), self._engine.identity(configuration, "api")
        env_file = configuration / ".env"
        files.write(env_file, f"{env_file.read_text().rstrip()}\nAPI_RELEASE={identity}\n")
        replicas = int(self._engine.services(configuration)["api"]["deploy"]["replicas"])
        watch_seconds = self._arguments.watch_seconds
        if live:
            before = self._records.configuration(live.number)
            changed = files.differing(files.listing(configuration), files.listing(before))
            if not (changed or files.differing(files.listing(before), in_place) or self._wrong(identity, replicas)):
                shutil.rmtree(self._records.new)
                return {"changed": False, "number": live.number}
            edges = {self._engine.identity(folder, "edge") for folder in (configuration, before)}
            if identity == live.identity and "haproxy/haproxy.cfg" not in changed and len(edges) == 1:
                watch_seconds = 0  # Nothing that serves requests changes.
        record = self._record("release" if not live or image != live.image else "configuration", live)
        record.image, record.identity, record.replicas = image, identity, replicas
        record.watch_seconds = watch_seconds if live else 0
        return self._begin(record)

    def rollback(self) -> Result:
        """Makes a release of an earlier one's image and configuration; the unit carries it out."""
        return self._hold(self._rollback)

    def _rollback(self) -> Result:
        live = self._records.live()
        if not live:
            raise ReleaseError("no release is live on this host yet: run `make up`")
        to = self._records.find(self._arguments.to) if self._arguments.to else self._records.before(live)
        if to.origin == live.origin:
            raise ReleaseError(f"release {to.number} is the live one already")
        source = self._records.configuration(to.number)
        for image in sorted(self._engine.images(source)):
            self._engine.ensure_image(image)
        self._put_together(files.listing(source))
        record = self._record("rollback", live)
        record.image, record.identity, record.replicas, record.origin = to.image, to.identity, to.replicas, to.origin
        return self._begin(record)

    def work(self) -> Result:
        """The unit's: carries out the release that is not finished, if there is one."""
        if record := self._records.unfinished():
            self._rollout(record).run()
        return {}

    def wait(self) -> Result:
        """Waits until a release has reached a phase.

        Raises:
            ReleaseError: it ended in another way; why.
        """
        idle = 0
        while True:
            record = self._records.get(self._arguments.number)
            ended = record.finished is not None
            if ended and record.outcome != GOOD:
                raise ReleaseError(f"release {record.number} of {record.tag} {_ended(record)}: {record.reason}")
            if ended or (self._arguments.phase != "done" and record.reached(self._arguments.phase)):
                return {"seconds": round((record.finished or time.time()) - record.started, 1)}
            if record.undo_failures >= UNDO_TRIES:
                why = (record.undoing or {}).get("reason")
                raise ReleaseError(
                    f"release {record.number} of {record.tag} did not end well: {why}\nAnd {record.reason}\n"
                    f"The host goes on trying (`journalctl -u {UNIT}`): mend that, and it ends by itself"
                )
            # Between a crash and its new start by systemd the unit is not active for a moment.
            idle = idle + 1 if self._systemctl("is-active", UNIT) in ("inactive", "failed") else 0
            if idle > 15:
                raise ReleaseError(
                    f"release {record.number} stopped after the step `{record.phase}` (`journalctl -u {UNIT}`): "
                    "the next release completes or undoes it"
                )
            self._sleep(0.3)

    def cancel(self) -> Result:
        """Undoes the release that this token's owner began, if it is still on its way, and gives the lock back."""
        record = self._records.unfinished()
        if record and record.token == self._arguments.token:
            self._systemctl("stop", UNIT)
            record = self._records.get(record.number)
            if record.finished is None:
                # The program could not be told: it had just begun, or had crashed and was to be started again.
                if not record.undoing and not record.reached(PHASES[-1]):
                    record.cancel()
                    self._records.save(record)
                self._systemctl("start", UNIT)
                record = self._records.get(record.number)
        self._lock.release(self._arguments.token)
        return {"outcome": record.outcome if record and record.token == self._arguments.token else None}

    def reload(self) -> Result:
        """Has the edge read its configuration and its certificates again."""
        Edge(self._settings, self._engine).reload()
        return {}

    def list(self) -> Result:
        """Every release on the list, the oldest first; which one is live; who releases just now."""
        live, holder = self._records.live(), self._lock.holder()
        fields = (
            "number",
            "kind",
            "origin",
            "commit",
            "owner",
            "token",
            "started",
            "finished",
            "outcome",
            "reason",
            "times",
            "watch_seconds",
            "seen",
        )
        listed = [{name: getattr(one, name) for name in fields} | {"tag": one.tag} for one in self._records.all()]
        return {"live": live and live.number, "releases": listed, "lock": holder and vars(holder)}

    def _hold(self, verb: Callable[[], Result]) -> Result:
        """Has the lock for a verb, and for the release that it begins; gives it back when it begins none."""
        self._lock.take(self._arguments.owner, self._arguments.token, 600)
        if record := self._records.unfinished():
            raise ReleaseError(f"release {record.number} is still on its way: wait until it has ended")
        try:
            return verb()
        finally:
            if not self._records.unfinished():
                self._lock.release(self._arguments.token)

    def _put_together(self, listing: dict[str, Path]) -> None:
        shutil.rmtree(self._records.new, ignore_errors=True)
        self._records.new.mkdir(mode=0o700)
        for name, path in listing.items():
            files.copy(path, self._records.new / "config" / name)

    def _wrong(self, identity: str, replicas: int) -> bool:
        """Whether other replicas run than should."""
        running = [one.release for one in self._engine.containers("api") if one.runs]
        return running != [identity] * replicas

    def _record(self, kind: str, live: Record | None) -> Record:
        given, number = self._arguments, self._records.next_number()
        return Record(
            number=number,
            kind=kind,
            origin=number,
            previous=live.number if live else None,
            owner=given.owner,
            token=given.token,
            watch_seconds=given.watch_seconds,
            started=time.time(),
        )

    def _begin(self, record: Record) -> Result:
        self._records.add(record)
        self._systemctl("start", "--no-block", UNIT)
        shown = ("number", "kind", "tag", "watch_seconds")
        return {"changed": True} | {name: getattr(record, name) for name in shown}


def _ended(record: Record) -> str:
    return {"rolled back": "was rolled back", "cancelled": "was undone"}.get(record.outcome, record.outcome)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="comentarios-release", description="Releases of the stack on this host.")
    commands = parser.add_subparsers(dest="verb", required=True)
    who = argparse.ArgumentParser(add_help=False)
    who.add_argument("--owner", required=True)
    who.add_argument("--token", required=True)
    lock = commands.add_parser("lock", parents=[who])
    lock.add_argument("--seconds", type=float, default=300)
    lock.add_argument("--abandoned", default="")
    apply = commands.add_parser("apply", parents=[who])
    apply.add_argument("--watch-seconds", type=int, default=60)
    rollback = commands.add_parser("rollback", parents=[who])
    rollback.add_argument("--watch-seconds", type=int, default=60)
    rollback.add_argument("--to", default="")
    for name in ("unlock", "cancel"):
        commands.add_parser(name).add_argument("--token", required=True)
    wait = commands.add_parser("wait")
    wait.add_argument("number", type=int)
    wait.add_argument("phase", choices=("ready", "switched", "stopped", "done"))
    commands.add_parser("work")
    commands.add_parser("list")
    commands.add_parser("reload")
    return parser.parse_args(arguments)


def main(given: Sequence[str] | None = None, file: Path = FILE) -> int:
    arguments = parse(given)
    try:
        settings = Settings.read(file)
        engine = Engine(settings)
        edge = Edge(settings, engine)
        command = Command(settings, arguments, engine, lambda record: Rollout(settings, record, engine, edge))
        result = getattr(command, arguments.verb)()
    except (ReleaseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
