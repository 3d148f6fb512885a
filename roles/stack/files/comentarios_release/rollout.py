"""Runs a release step by step. After an interruption, it continues with the step that was interrupted."""

import re
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import files, textfile
from .edge import Edge, get
from .engine import Container, Engine
from .records import CANCELLED, FAILED, GOOD, PHASES, ROLLED_BACK, Record, Records
from .settings import ReleaseError, Settings
from .watch import Baseline, Sample, Watch

# Open requests to the old replicas are drained by the replicas themselves. This covers requests for which the edge has
# chosen a replica but not yet connected to it.
SETTLE_SECONDS = 1.0
# Services that reload by SIGHUP, and the ports of their metrics, which have the time of the last reload.
PORTS = {"prometheus": 9090, "alertmanager": 9093}
RELOAD_SECONDS = 30.0


class Cancelled(Exception):
    """The release was cancelled."""


class BadRelease(ReleaseError):
    """The release is live, but worse than the one before."""


class Rollout:
    """Runs the release of a record. Every step is idempotent."""

    def __init__(
        self,
        settings: Settings,
        record: Record,
        engine: Engine,
        edge: Edge,
        *,
        probe: Callable[..., tuple[int, str]] = get,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._settings = settings
        self._record = record
        self._records = Records(settings.releases)
        self._engine = engine
        self._edge = edge
        self._probe = probe
        self._clock = clock
        self._sleep = sleep
        self._configuration = self._records.configuration(record.number)
        self._previous = self._records.get(record.previous) if record.previous else None
        self._restarts: dict[str, int] = {}
        # A release that was watched to its end is completed.
        self._may_cancel = not record.reached(PHASES[-1])

    def run(self) -> None:
        """Ends with this release live, or with the one before it; the record says which."""
        try:
            try:
                signal.signal(signal.SIGTERM, self._on_signal)
                signal.signal(signal.SIGINT, self._on_signal)
                if not self._record.undoing:
                    self._forward()
            finally:
                # An undo must not be interrupted by a cancellation.
                self._may_cancel = False
        except BadRelease as error:
            self._record.undoing = {"outcome": ROLLED_BACK, "reason": str(error)}
        except (ReleaseError, OSError) as error:
            self._record.undoing = {"outcome": FAILED, "reason": str(error)}
        except Cancelled:
            self._record.cancel()
        if self._record.undoing:
            self._records.save(self._record)
            try:
                self._undo()
            except (ReleaseError, OSError) as error:
                # systemd restarts the program, which tries again.
                self._record.undo_failures += 1
                self._record.reason = f"undoing it has failed {self._record.undo_failures} times: {error}"
                self._records.save(self._record)
                textfile.publish(self._settings.textfile, self._records.live(), False)
                raise
        self._finish()

    def _forward(self) -> None:
        steps: dict[str, Callable[[], None]] = {
            "started": self._start,
            "ready": self._wait_ready,
            "placed": self._place,
            "switched": self._switch,
            "stopped": self._stop_old,
            "watched": self._watch,
        }
        for phase, step in steps.items():
            if not self._record.reached(phase):
                step()
                self._records.reach(self._record, phase)

    def _start(self) -> None:
        """Starts new replicas beside the old ones. Their name in Docker's DNS is new, so they get no requests yet."""
        # A move needs the secrets, and the replicas mount them when they start.
        files.add_secrets(self._configuration, self._settings.stack_dir)
        if self._record.move:
            self._move("copy")
        before = self._edge.sample()
        everything = self._engine.containers("api")
        broken = [one for one in everything if self._is_new(one) and not one.runs]
        self._engine.remove(broken)
        kept = [one for one in everything if one not in broken]
        missing = self._record.replicas - sum(self._is_new(one) for one in kept)
        if missing > 0:
            self._scale(self._configuration, self._record.identity, len(kept) + missing)
        now = self._edge.sample() or Sample()
        # The old release's figures, which the watch compares with.
        self._record.baseline = asdict(Baseline.of(now.since(before or now), now))

    def _wait_ready(self) -> None:
        self._ready(self._record.identity, self._record.replicas)

    def _place(self) -> None:
        """Puts the configuration in place and applies it to all services except the API."""
        if self._edge.serving() is None:
            self._edge.switch(self._record.identity)
        since = time.time()
        self._apply(self._configuration, self._record.identity)
        problem = self._until(RELOAD_SECONDS, lambda: self._not_reloaded(since))
        if problem:
            raise ReleaseError(problem)

    def _switch(self) -> None:
        if self._record.move:
            self._move("finish", self._record.identity)
        else:
            self._edge.switch(self._record.identity)
        # After the switch: the edge's old process keeps the replicas that it knows at the reload.
        self._reload_edge()
        problem = self._until(10, self._edge.answers)
        if problem:
            raise ReleaseError(f"the edge does not reach the new replicas: {problem}")

    def _stop_old(self) -> None:
        old = [one for one in self._engine.containers("api") if not self._is_new(one) and one.runs]
        if old:
            self._sleep(SETTLE_SECONDS)
            # Stopped but not removed: while the release is watched, rolling back takes a second.
            self._engine.stop(old)

    def _watch(self) -> None:
        if not self._record.watch_seconds:
            return
        # An interrupted watch starts again, since nobody watched in the meantime.
        end = self._clock() + self._record.watch_seconds
        watch = Watch(Baseline(**(self._record.baseline or {})), self._edge.sample() or Sample())
        unready: dict[str, int] = {}
        while self._clock() < end:
            self._sleep(1)
            sample = self._edge.sample()
            problem = watch.judge(sample) if sample else ""
            self._record.seen = watch.seen
            self._records.save(self._record)
            if problem:
                raise BadRelease(f"{problem}; {self._last_lines(self._replicas(self._record.identity))}")
            self._look_at_replicas(unready)

    def _look_at_replicas(self, unready: dict[str, int]) -> None:
        """Checks the replicas directly, since few requests say little."""
        for one in self._replicas(self._record.identity):
            if not one.runs or self._restarted(one):
                raise BadRelease(f"replica {one.name} ended (status {one.exit_code}); {self._last_lines([one])}")
            problem = self._unready(one)
            unready[one.id] = unready.get(one.id, 0) + 1 if problem else 0
            if unready[one.id] >= 3:
                raise BadRelease(f"replica {one.name}: {problem}; {self._last_lines([one])}")

    def _undo(self) -> None:
        """Makes the previous release live again, with its configuration; then removes the new replicas."""
        if self._previous:
            before, configuration = self._previous, self._records.configuration(self._previous.number)
            # Before the switch they were not touched. Waiting for them here might never end.
            if self._edge.serving() != before.identity:
                self._engine.start(one for one in self._replicas(before.identity) if not one.runs)
                missing = before.replicas - len(self._replicas(before.identity))
                if missing > 0:
                    self._scale(configuration, before.identity, len(self._engine.containers("api")) + missing)
                self._ready(before.identity, before.replicas)
                if self._record.move:
                    self._move("undo", before.identity)
                else:
                    self._edge.switch(before.identity)
                self._sleep(SETTLE_SECONDS)
            elif self._record.move and self._record.reached("placed"):
                self._move("undo", before.identity)
            # If this step was not reached, configuration and other services are unchanged.
            if self._record.reached("ready"):
                self._apply(configuration, before.identity)
                self._reload_edge()
        keep = self._previous.identity if self._previous else self._edge.serving()
        if self._record.identity != keep:
            failed = self._replicas(self._record.identity)
            self._engine.stop(one for one in failed if one.runs)
            self._engine.remove(failed)

    def _finish(self) -> None:
        record, undoing = self._record, self._record.undoing
        record.outcome, record.reason = (undoing["outcome"], undoing["reason"]) if undoing else (GOOD, "")
        if not undoing:
            self._engine.remove(one for one in self._engine.containers("api") if not self._is_new(one))
            self._records.set_live(record.number)
            self._retire_newer()
        files.retire_secrets(self._settings.stack_dir)
        files.forget_secrets(self._configuration)
        self._records.save(record)
        self._prune()
        textfile.publish(self._settings.textfile, self._records.live(), record.outcome in (GOOD, CANCELLED))
        # Written last: until then, the release counts as unfinished.
        record.finished = time.time()
        self._records.save(record)

    def _retire_newer(self) -> None:
        """After a manual rollback, the releases that it skipped no longer count as good."""
        if self._record.kind != "rollback":
            return
        for record in self._records.all():
            if record.outcome == GOOD and self._record.origin < record.number < self._record.number:
                record.outcome = ROLLED_BACK
                record.reason = f"release {self._record.number} went back to {self._record.origin}"
                self._records.save(record)

    def _prune(self) -> None:
        images, old = self._records.prune(self._settings.keep_images, self._settings.keep_records)
        kept = [record for record in self._records.all() if record not in old]
        gone = {image for record in old for image in record.images if image != record.image}
        gone -= {image for record in kept for image in record.images}
        for image in sorted(gone | (set(self._engine.tags(self._record.image)) - images)):
            self._engine.remove_image(image)
        # After the images, whose names are in these records.
        self._records.remove(old)
        files.retire_databases(self._settings.stack_dir, self._settings.releases)

    # --- parts of several steps ---------------------------------------------------------------------------------------

    def _move(self, step: str, identity: str = "") -> None:
        """Runs a step of the move to another database.

        When the step asks for it, writes wait at the edge until a release has the requests and its database the
        comments.
        """
        move, begin = self._record.move or {}, self._clock()

        def told(line: dict[str, Any]) -> None:
            nonlocal begin
            if line["step"] == "hold":
                begin = self._clock()
                self._edge.hold_writes()
                # Writes that passed the edge before.
                self._sleep(SETTLE_SECONDS)
            elif line["step"] == "moved" and identity:
                if self._edge.serving() != identity:
                    self._edge.switch(identity)
                self._edge.resume_writes()
                self._record.held_seconds = round(self._clock() - begin, 1)
            else:
                self._record.copied = {"done": line["done"], "of": line["of"]}
                self._records.save(self._record)

        self._engine.move(self._record.image, step, move["from"], move["to"], told)
        if step == "undo":
            # Not again after a kill: the image may be removed by then.
            self._record.move = None
            self._records.save(self._record)

    def _apply(self, configuration: Path, identity: str) -> None:
        """Makes a configuration live and applies it to the services, by a reload if possible."""
        files.place(configuration, self._settings.stack_dir)
        # New containers read their files when they start; an early SIGHUP would kill them.
        running = {one.id for name in (*PORTS, "grafana") for one in self._engine.containers(name) if one.runs}
        others = sorted(set(self._engine.services(configuration, identity)) - {"api"})
        arguments = ("up", "--detach", "--no-deps", "--no-build", "--remove-orphans", "--pull", "never")
        self._engine.compose(configuration, identity, *arguments, "--wait", "--wait-timeout", "120", *others)
        for one in (one for name in self._to_reload() for one in self._engine.containers(name) if one.id in running):
            self._engine.send_sighup(one)
        if self._changes("grafana/grafana.ini", "grafana/provisioning/"):
            # Grafana reads these only when it starts; it finds new dashboards within 30 seconds.
            for one in self._engine.containers("grafana"):
                if one.id in running:
                    self._engine.restart(one)

    def _reload_edge(self) -> None:
        if self._changes("haproxy/"):
            self._edge.reload()

    def _to_reload(self) -> list[str]:
        return [service for service in PORTS if self._changes(f"{service}/")]

    def _changes(self, *beginnings: str) -> bool:
        return any(name.startswith(beginnings) for name in self._record.changed)

    def _not_reloaded(self, since: float) -> str:
        """Empty as soon as every reloaded service uses its new configuration."""
        for service in self._to_reload():
            status, text = self._probe(f"http://127.0.0.1:{PORTS[service]}/metrics", limit=None)
            found = re.search(rf"^{service}_config_last_reload_success_timestamp_seconds (\S+)$", text, re.MULTILINE)
            if status != 200 or not found or float(found[1]) < since:
                return f"{service} does not load its configuration: `make logs SERVICE={service}`"
        return ""

    def _ready(self, identity: str, count: int) -> None:
        """Waits until this number of a release's replicas is ready.

        Raises:
            ReleaseError: a replica ended, or time is up; the probe's result and the replica's last lines.
        """
        end = self._clock() + self._record.ready_seconds
        while True:
            replicas = self._replicas(identity)
            problems = []
            for one in replicas:
                if one.state in ("exited", "restarting", "dead") or self._restarted(one):
                    raise ReleaseError(
                        f"replica {one.name} of {one.image} ended at its start (status {one.exit_code}); "
                        f"{self._last_lines([one])}"
                    )
                if problem := self._unready(one):
                    problems.append((one, problem))
            if len(replicas) >= count and not problems:
                return
            if self._clock() > end:
                seconds = self._record.ready_seconds
                if not problems:
                    raise ReleaseError(f"only {len(replicas)} of {count} replicas are running after {seconds} s")
                one, problem = problems[0]
                raise ReleaseError(
                    f"replica {one.name} of {one.image} is not ready after {seconds} s: {problem}; "
                    f"{self._last_lines([one])}"
                )
            self._sleep(0.3)

    def _unready(self, replica: Container) -> str:
        """Empty if the replica is ready, otherwise what it answered."""
        url = f"http://{replica.address}:8000/readyz"
        status, body = self._probe(url)
        return "" if status == 200 else f"{url} answered {status or 'nothing'}: {body}"

    def _restarted(self, replica: Container) -> bool:
        """Whether the engine has restarted the replica during this release."""
        known = self._previous is not None and replica.release == self._previous.identity
        return replica.restarts > self._restarts.setdefault(replica.id, replica.restarts if known else 0)

    def _last_lines(self, replicas: list[Container]) -> str:
        return "".join(f"the last lines of {one.name}:\n{self._engine.logs(one)}" for one in replicas[:1])

    def _scale(self, configuration: Path, identity: str, count: int) -> None:
        """Starts replicas of a release until `count` replicas run, those of other releases included."""
        arguments = ("up", "--detach", "--no-deps", "--no-recreate", "--no-build", "--scale", f"api={count}", "api")
        self._engine.compose(configuration, identity, *arguments)

    def _replicas(self, identity: str) -> list[Container]:
        return [one for one in self._engine.containers("api") if one.release == identity]

    def _is_new(self, container: Container) -> bool:
        return container.release == self._record.identity

    def _until(self, seconds: float, probe: Callable[[], str]) -> str:
        """Repeats the probe until its answer is empty or time is up; returns the last answer."""
        end = self._clock() + seconds
        while (problem := probe()) and self._clock() < end:
            self._sleep(0.3)
        return problem

    def _on_signal(self, *_arguments: object) -> None:
        if self._may_cancel:
            self._may_cancel = False
            raise Cancelled
