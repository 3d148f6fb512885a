"""``comentarios-release``: the command on the host that Ansible and the verbs call. Prints JSON; errors on stderr."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import files, lock, textfile
from .edge import Edge
from .engine import CHECKS, Engine, identity
from .lock import UNIT
from .records import GOOD, PHASES, Record, Records
from .rollout import Rollout
from .settings import FILE, ReleaseError, Settings

# After this number of failed attempts to undo a release, the waiting command fails. The unit keeps trying.
UNDO_TRIES = 5
# The staged files of a killed run are deleted after a day.
KEEP_STAGED_SECONDS = 24 * 3600

Result = dict[str, Any]


class Command:
    """The commands; each returns the result, which is printed as JSON."""

    def __init__(
        self,
        settings: Settings,
        arguments: argparse.Namespace,
        engine: Engine,
        rollout: Callable[[Record], Rollout],
        *,
        systemctl: Callable[..., str] = lock.systemctl,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._settings = settings
        self._arguments = arguments
        self._records = Records(settings.releases)
        self._engine = engine
        self._rollout = rollout
        self._systemctl = systemctl
        self._sleep = sleep

    def apply(self) -> Result:
        """Releases what the roles have staged in a run, unless it is already live."""
        staged = self._settings.staged(self._arguments.run)
        staged.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with lock.exclusive(self._settings, self._arguments.owner, self._systemctl):
                result = self._apply(staged)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
            self._forget_killed_runs(staged.parent)
        return self._wait_if_begun(result)

    def _apply(self, staged: Path) -> Result:
        given, live = self._arguments, self._records.live()
        image = given.image or (live.image if live else "")
        if not image:
            raise ReleaseError("no release is live on this host yet, and no image is given: run `make up`")
        before = files.listing(self._records.configuration(live.number)) if live else {}
        configuration = self._assemble(files.merged(files.listing(staged), before))
        record = self._new_record(configuration, "release", live, image)
        if live and image == live.image:
            record.kind = "configuration"
        in_place, wanted = files.listing(self._settings.stack_dir), files.listing(configuration)
        changed = files.changes(wanted, in_place)
        if live:
            changed |= files.differing(files.listing(configuration, secrets=False), before)
            running = [one.release for one in self._engine.containers("api") if one.runs]
            if not changed and running == [record.identity] * record.replicas:
                return {"changed": False, "number": live.number}
        record.changed = sorted(changed)
        difference = {"diff": [_difference(name, in_place, wanted) for name in record.changed]}
        if given.check:
            return {"changed": True} | difference
        services = self._engine.services(configuration)
        then = self._engine.services(self._records.configuration(live.number)) if live else {}
        self._check(configuration, services, then, changed)
        if not staged.exists():
            raise ReleaseError("cancelled: nothing was changed")
        record.move = self._moved(configuration, live, changed)
        if record.move:
            record.kind = "move"
        same_edge = then.get("edge") == services.get("edge") and "haproxy/haproxy.cfg" not in changed
        if live and same_edge and record.identity == live.identity:
            record.watch_seconds = 0  # Nothing that serves requests changes.
        return self._begin(record) | difference

    def rollback(self) -> Result:
        """Releases an earlier release's image and configuration. Changes nothing if it is live already."""
        with lock.exclusive(self._settings, self._arguments.owner, self._systemctl):
            result = self._rollback()
        return self._wait_if_begun(result)

    def _rollback(self) -> Result:
        live = self._records.live()
        if not live:
            raise ReleaseError("no release is live on this host yet: run `make up`")
        # A rerun, on this host or after another one failed, must not go one release further back.
        if not self._arguments.to and live.kind == "rollback":
            return {"changed": False, "number": live.number}
        to = self._records.find(self._arguments.to) if self._arguments.to else self._records.last_good_before(live)
        if to.origin == live.origin:
            return {"changed": False, "number": live.number}
        if not self._keeps_database(self._records.configuration(to.number), self._settings.stack_dir, live):
            raise ReleaseError(
                f"release {to.number} used another database, which lacks what was written since: "
                f"`make release TAG={to.tag}` runs its image, `make move-database` moves the comments"
            )
        if self._arguments.check:
            return {"changed": True}
        configuration = self._assemble(files.listing(self._records.configuration(to.number)))
        record = self._new_record(configuration, "rollback", live, to.image)
        for image in record.images:
            self._engine.ensure_image(image)
        record.origin = to.origin
        wanted, in_place = files.listing(configuration), files.listing(self._settings.stack_dir)
        record.changed = sorted(files.changes(wanted, in_place))
        return self._begin(record)

    def _moved(self, configuration: Path, live: Record | None, changed: set[str]) -> dict[str, str] | None:
        """The databases between which a configuration moves the comments; None if it keeps the live one.

        Raises:
            ReleaseError: the move is not wanted, or writes cannot be held.
        """
        if not live or self._keeps_database(configuration, configuration, live):
            return None
        if not self._arguments.move:
            raise ReleaseError(
                "this configuration names another database, which lacks the comments; nothing was changed: "
                "`make move-database TO=…` takes them along; to stay, correct the settings and run `make up`"
            )
        if any(name.startswith("haproxy/") for name in changed):
            raise ReleaseError(
                "the edge's configuration differs, and a move cannot change it; nothing was changed: name the old "
                "database in your settings, run `make up`, then name the new one"
            )
        return {"from": files.database(self._records.configuration(live.number)), "to": files.database(configuration)}

    def _keeps_database(self, configuration: Path, secrets: Path, live: Record) -> bool:
        """Whether a configuration, whose secrets are in a folder, names the live database."""
        names = files.database(self._records.configuration(live.number)), files.database(configuration)
        folders = self._settings.stack_dir, secrets
        return files.same_database(
            *(folder / "secrets" / name if name else None for folder, name in zip(folders, names, strict=True))
        )

    def work(self) -> Result:
        """Called by the unit: runs the unfinished release, if there is one."""
        if record := self._records.unfinished():
            with lock.hold(self._settings.releases, record.owner, wait=True):
                self._rollout(record).run()
        return {}

    def wait(self, number: int) -> Result:
        """Waits until a release has ended.

        Raises:
            ReleaseError: it failed; why.
        """
        idle = 0
        while (record := self._records.get(number)).finished is None:
            if record.undo_failures >= UNDO_TRIES:
                why = (record.undoing or {}).get("reason")
                raise ReleaseError(
                    f"release {record.number} of {record.tag} failed: {why}\n{record.reason}\n"
                    f"The host keeps trying (`journalctl -u {UNIT}`): correct the cause"
                )
            # After a crash, the unit is inactive for a moment until systemd restarts it.
            idle = idle + 1 if self._systemctl("is-active", UNIT) in ("inactive", "failed") else 0
            if idle > 15:
                raise ReleaseError(
                    f"release {record.number} stopped after the step `{record.phase}` (`journalctl -u {UNIT}`): "
                    "the next release completes or undoes it"
                )
            self._sleep(0.3)
        if record.outcome != GOOD:
            ended = {"rolled back": "was rolled back", "cancelled": "was undone"}.get(record.outcome, record.outcome)
            raise ReleaseError(f"release {record.number} of {record.tag} {ended}: {record.reason}")
        return {"seconds": round(record.finished - record.started, 1)}

    def cancel(self) -> Result:
        """Undoes a run's release if it is not finished, and keeps that run from starting one."""
        shutil.rmtree(self._settings.staged(self._arguments.run), ignore_errors=True)
        record = self._records.unfinished()
        if not record or record.run != self._arguments.run:
            return {"outcome": None}
        self._systemctl("stop", UNIT)
        record = self._records.get(record.number)
        if record.finished is None:
            # The program did not get the signal: it had just started, or crashed.
            if not record.undoing and not record.reached(PHASES[-1]):
                record.cancel()
                self._records.save(record)
            self._systemctl("start", UNIT)
            record = self._records.get(record.number)
        return {"outcome": record.outcome}

    def reload(self) -> Result:
        """Reloads the edge's configuration and certificates."""
        Edge(self._settings, self._engine).reload()
        return {}

    def certificate(self) -> Result:
        """Writes the metrics of the certificate that the edge serves.

        Raises:
            ReleaseError: the site has no domain.
        """
        if not self._settings.domain:
            raise ReleaseError("this site has no domain, so it has no certificate")
        textfile.publish_certificate(self._settings.textfile.with_name("certificate.prom"), self._settings.domain)
        return {}

    def list(self) -> Result:
        """All releases, the oldest first, the number of the live one, and who is releasing."""
        live, under_way = self._records.live(), self._records.unfinished()
        hidden = ("baseline", "changed", "identity", "images", "move", "undoing", "undo_failures")
        listed = [
            {name: value for name, value in vars(one).items() if name not in hidden} | {"tag": one.tag}
            for one in self._records.all()
        ]
        return {"live": live and live.number, "releases": listed, "by": under_way and under_way.owner}

    def _assemble(self, listing: dict[str, Path]) -> Path:
        shutil.rmtree(self._records.new, ignore_errors=True)
        self._records.new.mkdir(mode=0o700)
        configuration = self._records.new / "config"
        for name, path in listing.items():
            files.copy(path, configuration / name)
        if not (configuration / ".env").exists():
            raise ReleaseError("nothing is staged, and no release is live: run `make up`")
        return configuration

    def _new_record(self, configuration: Path, kind: str, live: Record | None, image: str) -> Record:
        """The record of a release with this configuration and image. Writes both into the configuration's `.env`.

        Raises:
            ReleaseError: Compose refuses the configuration.
        """
        given, number, env_file = self._arguments, self._records.next_number(), configuration / ".env"
        text = f"{files.without(env_file, 'API_IMAGE', 'API_RELEASE')}API_IMAGE={image}\n"
        files.write(env_file, text)
        services = self._engine.services(configuration)
        api = identity(services["api"])
        files.write(env_file, f"{text}API_RELEASE={api}\n")
        return Record(
            number=number,
            kind=kind,
            origin=number,
            previous=live.number if live else None,
            owner=given.owner,
            run=given.run,
            ready_seconds=given.ready_seconds,
            watch_seconds=given.watch_seconds if live else 0,
            started=time.time(),
            image=image,
            images=sorted({service["image"] for service in services.values()}),
            identity=api,
            replicas=int(services["api"]["deploy"]["replicas"]),
        )

    def _check(self, configuration: Path, services: Result, before: Result, changed: set[str]) -> None:
        """Pulls the images, and has each program check its files.

        Raises:
            ReleaseError: an image is not available, or a file is invalid; nothing was changed.
        """
        try:
            for name in sorted(changed):
                if name.endswith(".json"):
                    files.read_json(configuration / name)
            for image in sorted({service["image"] for service in services.values()}):
                self._engine.ensure_image(image)
        except ReleaseError as error:
            raise ReleaseError(f"{error}. Nothing was changed") from None
        for service, (folder, *_) in CHECKS.items():
            found = services.get(service, {})
            image, user = found.get("image"), found.get("user", "0")
            if image == before.get(service, {}).get("image") and not any(
                one.startswith(f"{folder}/") for one in changed
            ):
                continue
            if problem := image and self._engine.check(configuration, service, image, user):
                raise ReleaseError(f"{service} refuses its configuration, nothing was changed: {problem}")

    def _begin(self, record: Record) -> Result:
        record.commit = self._engine.commit(record.image)
        self._records.add(record)
        self._systemctl("start", "--no-block", UNIT)
        shown = ("number", "kind", "tag", "watch_seconds")
        return {"changed": True} | {name: getattr(record, name) for name in shown}

    def _wait_if_begun(self, result: Result) -> Result:
        """Waits for the release that was begun, if there is one."""
        if not result["changed"] or self._arguments.check:
            return result
        return result | self.wait(result["number"])

    def _forget_killed_runs(self, folder: Path) -> None:
        for path in folder.iterdir():
            # Another run may remove its own folder at the same time.
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - KEEP_STAGED_SECONDS:
                    shutil.rmtree(path, ignore_errors=True)


def _difference(name: str, before: dict[str, Path], after: dict[str, Path]) -> dict[str, str]:
    """A file before and after, for Ansible's diff; a secret's content is hidden."""

    def text(listing: dict[str, Path], hidden: str) -> str:
        if name not in listing:
            return ""
        return hidden if files.secret(name) else listing[name].read_text(errors="replace")

    return {
        "before_header": name,
        "after_header": name,
        "before": text(before, "a secret\n"),
        "after": text(after, "another secret\n"),
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="comentarios-release", description="Releases of the stack on this host.")
    commands = parser.add_subparsers(dest="verb", required=True)
    run = argparse.ArgumentParser(add_help=False)
    run.add_argument("--run", required=True, help="name of the run and of its folder in staged/")
    how = argparse.ArgumentParser(add_help=False, parents=[run])
    how.add_argument("--owner", required=True, help="who releases, as shown to others")
    how.add_argument("--watch-seconds", type=int, default=60, help="for how long the release is watched")
    how.add_argument("--ready-seconds", type=int, default=60, help="how long its replicas may take to become ready")
    how.add_argument("--check", action="store_true", help="only show what would change")
    apply = commands.add_parser("apply", parents=[how], help="roll out what a run has staged, if it differs")
    apply.add_argument("--image", default="", help="the API's image; by default, the live one")
    apply.add_argument("--move", action="store_true", help="move the comments if the database is another one")
    rollback = commands.add_parser("rollback", parents=[how], help="roll back to an earlier release")
    rollback.add_argument("--to", default="", help="number or tag; by default, the good one before the live one")
    commands.add_parser("cancel", parents=[run], help="undo a run's release")
    commands.add_parser("work", help="run the unfinished release; for the unit")
    commands.add_parser("list", help="list all releases as JSON")
    commands.add_parser("reload", help="reload the edge's configuration and certificates")
    commands.add_parser("certificate", help="write the metrics of the certificate; for certbot's unit")
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
