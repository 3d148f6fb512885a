"""The releases of this host: one folder each, with its record and its configuration."""

import shutil
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from .files import read_json, write_json
from .settings import ReleaseError

# In this order. An interrupted release continues after the last phase that it reached.
PHASES = ("created", "started", "ready", "placed", "switched", "stopped", "watched")
RUNNING, GOOD, FAILED, ROLLED_BACK, CANCELLED = "running", "good", "failed", "rolled back", "cancelled"


@dataclass
class Record:
    """One release.

    Attributes:
        number: 1 for the first.
        kind: ``release`` (another image), ``configuration``, ``move`` (to another database) or ``rollback``.
        origin: its own number; for a rollback, the number of the restored release.
        previous: the release that was live at its start; None for the first.
        image, commit: the API's image and the commit that it was built from.
        identity: identifies its replicas; releases with the same image and API settings share it.
        replicas: the number of replicas.
        owner, run: who released it, and the run that staged its configuration.
        images: every image that it runs.
        changed: files that differ from the live configuration; their services must reload them.
        ready_seconds: how long its replicas may take to become ready.
        watch_seconds: for how long it is watched; 0 to not watch it.
        started, finished: seconds since the epoch; without `finished`, the release is not finished.
        phase: the last of PHASES that it reached; times: when it reached each one.
        undoing: the reason and the outcome of an undo; None if it is not being undone.
        undo_failures: how often undoing it has failed.
        outcome: RUNNING, GOOD, FAILED, ROLLED_BACK (by its own watch or by a later rollback) or CANCELLED.
        reason: why it failed.
        baseline: what the edge measured before the switch (see ``watch.Baseline``).
        seen: the requests and errors that its watch has counted.
        move: the databases that it moves the comments ``from`` and ``to``: names of secrets, empty for SQLite.
        copied: how many comments it has copied or compared, of how many.
        held_seconds: how long writes waited at the edge while it moved them.
    """

    number: int
    kind: str
    origin: int
    previous: int | None
    owner: str
    watch_seconds: int
    started: float
    ready_seconds: int = 60
    run: str = ""
    image: str = ""
    identity: str = ""
    replicas: int = 1
    commit: str = ""
    images: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    finished: float | None = None
    phase: str = PHASES[0]
    times: dict[str, float] = field(default_factory=dict)
    undoing: dict[str, str] | None = None
    undo_failures: int = 0
    outcome: str = RUNNING
    reason: str = ""
    baseline: dict[str, float] | None = None
    seen: dict[str, int] | None = None
    move: dict[str, str] | None = None
    copied: dict[str, int] | None = None
    held_seconds: float | None = None

    @property
    def tag(self) -> str:
        return self.image.rpartition(":")[2]

    def reached(self, phase: str) -> bool:
        return PHASES.index(self.phase) >= PHASES.index(phase)

    def cancel(self) -> None:
        """Marks the release to be undone."""
        self.undoing = {"outcome": CANCELLED, "reason": "it was cancelled"}


class Records:
    """The releases under a folder."""

    def __init__(self, folder: Path):
        self._folder = folder

    def folder(self, number: int) -> Path:
        return self._folder / str(number)

    def configuration(self, number: int) -> Path:
        return self.folder(number) / "config"

    @property
    def new(self) -> Path:
        """The folder in which a release is prepared before it gets its number."""
        return self._folder / "new"

    def get(self, number: int) -> Record:
        record = self._read(number)
        if record is None:
            raise ReleaseError(f"there is no release {number}: `make releases` lists them")
        return record

    def _read(self, number: int) -> Record | None:
        values = read_json(self.folder(number) / "release.json")
        # Records of earlier versions may have more fields.
        known = {one.name for one in fields(Record)}
        return None if values is None else Record(**{name: value for name, value in values.items() if name in known})

    def all(self) -> list[Record]:
        """All releases, the oldest first, except those that are being removed."""
        numbers = sorted(int(path.name) for path in self._folder.glob("[0-9]*") if path.name.isdecimal())
        return [record for number in numbers if (record := self._read(number))]

    def next_number(self) -> int:
        return max((record.number for record in self.all()), default=0) + 1

    def add(self, record: Record) -> None:
        """Turns the prepared folder ``new`` into a release."""
        write_json(self.new / "release.json", asdict(record))
        self.new.rename(self.folder(record.number))

    def unfinished(self) -> Record | None:
        return next((record for record in reversed(self.all()) if record.finished is None), None)

    def live(self) -> Record | None:
        """The live release; during a release, the one before it."""
        number = read_json(self._folder / "live.json")
        return self.get(number) if number is not None else None

    def set_live(self, number: int) -> None:
        write_json(self._folder / "live.json", number)

    def save(self, record: Record) -> None:
        write_json(self.folder(record.number) / "release.json", asdict(record))

    def reach(self, record: Record, phase: str) -> None:
        record.phase = phase
        record.times[phase] = time.time()
        self.save(record)

    def last_good_before(self, live: Record) -> Record:
        """The last good release before the live one, for ``make rollback``.

        Raises:
            ReleaseError: there is none.
        """
        for record in reversed(self.all()):
            if record.outcome == GOOD and record.kind != "rollback" and record.number < live.number:
                return record
        raise ReleaseError("there is no good release before the live one to go back to: `make releases` lists them")

    def find(self, wanted: str) -> Record:
        """The good release with this number or tag; the newest if there are several.

        Raises:
            ReleaseError: there is none, or it failed.
        """
        named = [record for record in self.all() if wanted in (str(record.number), record.tag)]
        good = [record for record in named if record.outcome == GOOD]
        if good:
            return good[-1]
        if named:
            raise ReleaseError(f"release {wanted} {named[-1].outcome}: go back to a good one (`make releases`)")
        raise ReleaseError(f"there is no release {wanted} on this host: `make releases` lists them")

    def prune(self, keep_images: int, keep_records: int) -> tuple[set[str], list[Record]]:
        """The API's images to keep, and the releases to remove."""
        records, live = self.all(), self.live()
        order = sorted(records, key=lambda record: (live is not None and record.number == live.number, record.number))
        images: list[str] = []
        for record in reversed(order):
            if record.outcome == GOOD and record.image not in images:
                images.append(record.image)
        needed = {number for number in (live.number, live.previous, live.origin) if number} if live else set()
        old = [record for record in records[:-keep_records] if record.number not in needed]
        return set(images[:keep_images]), old

    def remove(self, records: list[Record]) -> None:
        """Removes releases, each atomically: a partial one would be taken for a whole one."""
        for record in records:
            self.folder(record.number).rename(self._folder / f"removed-{record.number}")
        for left in self._folder.glob("removed-*"):
            shutil.rmtree(left)
