"""Deliberate faults that a unit test must catch: ``python -m tests.proofs.mutants`` prints the table.

Another one is another line of FAULTS.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Fault:
    """One place that is made wrong.

    Attributes:
        name: what is wrong then.
        file: where, below the root.
        text: what stands there, once; replacement: what stands there instead.
        tests: what has to fail, as pytest is given it; it passes without the fault.
    """

    name: str
    file: str
    text: str
    replacement: str
    tests: str


RELEASE = "roles/stack/files/comentarios_release"
BACKUP = "roles/backup/files/comentarios_backup"
HEAL = "roles/stack/files/comentarios-heal"
RELEASES, HEALS, BACKUPS = "tests/units/release", "tests/units/heal", "tests/units/backup"

MOVES = f"{RELEASES}/test_move.py"

FAULTS = (
    # A move to another database.
    Fault(
        "the old database takes writes after the move",
        "api/comentarios/move.py",
        "                source.seal(target.kind)\n",
        "",
        "api/tests/units/test_move.py",
    ),
    Fault(
        "rows may change after they were compared",
        "api/comentarios/move.py",
        "                source.freeze()\n",
        "                pass\n",
        "api/tests/units/test_move.py",
    ),
    Fault(
        "writes are not held while the comments are moved",
        f"{RELEASE}/rollout.py",
        "                self._edge.hold_writes()\n",
        "",
        MOVES,
    ),
    Fault(
        "a move that was finished is not taken back with its release",
        f"{RELEASE}/rollout.py",
        'elif self._record.move and self._record.reached("placed"):',
        "elif False:",
        MOVES,
    ),
    Fault(
        "another database is taken without its comments",
        f"{RELEASE}/__main__.py",
        "        if not self._arguments.move:\n",
        "        if False:\n",
        MOVES,
    ),
    # The release program: what it does, in which order.
    Fault(
        "a phase is skipped: no wait for the replicas",
        f"{RELEASE}/rollout.py",
        '"ready": self._wait_ready,',
        '"ready": lambda: None,',
        f"{RELEASES}/test_release.py",
    ),
    Fault(
        "a phase is skipped: the old replicas keep running beside the new ones",
        f"{RELEASE}/rollout.py",
        '"stopped": self._stop_old,',
        '"stopped": lambda: None,',
        f"{RELEASES}/test_release.py",
    ),
    Fault(
        "an interrupted release starts again with its first phase",
        f"{RELEASE}/records.py",
        "        record.phase = phase\n",
        "",
        f"{RELEASES}/test_records.py",
    ),
    Fault(
        "an undo is forgotten: the old configuration is not restored",
        f"{RELEASE}/rollout.py",
        "                self._apply(configuration, before.identity)\n",
        "",
        f"{RELEASES}/test_interrupted.py",
    ),
    Fault(
        "an undo is forgotten: the edge keeps the bad release",
        f"{RELEASE}/rollout.py",
        "                    self._edge.switch(before.identity)\n",
        "                    pass\n",
        f"{RELEASES}/test_interrupted.py",
    ),
    Fault(
        "the live pointer is not set",
        f"{RELEASE}/rollout.py",
        "            self._records.set_live(record.number)\n",
        "",
        f"{RELEASES}/test_release.py",
    ),
    Fault(
        "the lock does not exclude others",
        f"{RELEASE}/lock.py",
        "            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))\n",
        "            pass\n",
        f"{RELEASES}/test_lock.py",
    ),
    Fault(
        "a release does not take the lock",
        f"{RELEASE}/__main__.py",
        "with lock.hold(self._settings.releases, record.owner, wait=True):",
        "if True:",
        f"{RELEASES}/test_release.py",
    ),
    Fault(
        "a configuration is not checked before it is rolled out",
        f"{RELEASE}/__main__.py",
        'raise ReleaseError(f"{service} refuses',
        'ReleaseError(f"{service} refuses',
        f"{RELEASES}/test_command.py",
    ),
    Fault(
        "a service does not reload its changed files",
        f"{RELEASE}/rollout.py",
        "            self._engine.send_sighup(one)\n",
        "            pass\n",
        f"{RELEASES}/test_command.py",
    ),
    Fault(
        "a release keeps its secrets",
        f"{RELEASE}/rollout.py",
        "        files.forget_secrets(self._configuration)\n",
        "",
        f"{RELEASES}/test_release.py",
    ),
    Fault(
        "a release counts as finished before its lock is released",
        f"{RELEASE}/records.py",
        "if record.finished is None)",
        "if record.outcome == RUNNING)",
        f"{RELEASES}/test_interrupted.py",
    ),
    Fault(
        "a cancellation before the program has started is lost",
        f"{RELEASE}/__main__.py",
        "                record.cancel()\n",
        "",
        f"{RELEASES}/test_command.py",
    ),
    Fault(
        "the watch's comparison is inverted",
        f"{RELEASE}/watch.py",
        "seen.error_ratio <= allowed",
        "seen.error_ratio >= allowed",
        f"{RELEASES}/test_watch.py",
    ),
    Fault(
        "a flood of clients rolls a good release back",
        f"{RELEASE}/watch.py",
        "        beyond = min(more, seen.refused)\n",
        "        beyond = 0.0\n",
        f"{RELEASES}/test_watch.py",
    ),
    Fault(
        "one slow second is enough for a rollback",
        f"{RELEASE}/watch.py",
        "if len(self._window) < WINDOW or",
        "if",
        f"{RELEASES}/test_watch.py",
    ),
    Fault(
        "one image too many is pruned",
        f"{RELEASE}/records.py",
        "images[:keep_images]",
        "images[: keep_images - 1]",
        f"{RELEASES}/test_records.py",
    ),
    Fault(
        "the release for a rollback is pruned",
        f"{RELEASE}/records.py",
        "(live.number, live.previous, live.origin)",
        "(live.number, live.origin)",
        f"{RELEASES}/test_records.py",
    ),
    Fault(
        "a secret that is named no more stays",
        f"{RELEASE}/files.py",
        "                path.unlink()\n",
        "                pass\n",
        f"{RELEASES}/test_release.py",
    ),
    Fault(
        "a release that was rolled back counts as good",
        f"{RELEASE}/rollout.py",
        "            self._retire_newer()\n",
        "",
        f"{RELEASES}/test_release.py",
    ),
    Fault(
        "a pull is not retried",
        f"{RELEASE}/engine.py",
        "PULLS = 3",
        "PULLS = 1",
        f"{RELEASES}/test_engine.py",
    ),
    # What restarts containers.
    Fault(
        "a replica that answers 503 is restarted",
        HEAL,
        "            connection.getresponse()\n            return True\n",
        "            return connection.getresponse().status < 500\n",
        HEALS,
    ),
    Fault("containers that somebody stopped are started", HEAL, ' and state["Error"]:', ":", HEALS),
    Fault("a container gets no time after its start", HEAL, "up > GRACE and ", "", HEALS),
    Fault("one silence is enough for a restart", HEAL, "SILENT = 4", "SILENT = 1", HEALS),
    # Backups.
    Fault(
        "the old database is not put back when a restore fails",
        f"{BACKUP}/__main__.py",
        "            database.swap_back(kept)\n",
        "",
        f"{BACKUPS}/test_program.py",
    ),
    Fault(
        "a restore does not block releases",
        f"{BACKUP}/__main__.py",
        "            with stack.held():\n",
        "            if True:\n",
        f"{BACKUPS}/test_program.py",
    ),
    # The API.
    Fault(
        "comments whose commit failed are acknowledged",
        "api/comentarios/storage/writer.py",
        "            one.error = error\n",
        "",
        "api/tests/units/test_writer.py",
    ),
    Fault(
        "a duplicate field is accepted",
        "api/comentarios/validation.py",
        "object_pairs_hook=_unique, ",
        "",
        "api/tests/units/test_validation.py",
    ),
    Fault(
        "a restore brings back what was erased after the backup",
        f"{BACKUP}/sqlite_steps.py",
        "                _carry_over(file, opened)\n",
        "                pass\n",
        f"{BACKUPS}/test_sqlite_steps.py",
    ),
    # What operators do to comments.
    Fault(
        "erased bytes stay in the file",
        "api/comentarios/storage/sqlite.py",
        "PRAGMA secure_delete = ON",
        "PRAGMA secure_delete = OFF",
        "api/tests/units/test_moderation_sqlite.py",
    ),
    Fault(
        "a client keeps a list that changed while it was read",
        "api/comentarios/storage/base.py",
        "revision = last.revision if revision is None else revision",
        "revision = last.revision",
        "api/tests/units/test_moderation.py",
    ),
    # The verbs.
    Fault(
        "Terraform's changes are ignored",
        "cli/terraform.py",
        'if status == 0:\n            return "no changes"',
        'if status in (0, 2):\n            return "no changes"',
        "tests/units/cli/test_terraform.py",
    ),
)


def copy(folder: Path) -> Path:
    """The working tree in another folder: what git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def made(fault: Fault, content: str) -> str:
    """The file with the fault.

    Raises:
        ValueError: what it replaces is not there any more, or more than once.
    """
    if content.count(fault.text) != 1:
        raise ValueError(f"{fault.file} holds {fault.text!r} {content.count(fault.text)} times: correct the fault")
    return content.replace(fault.text, fault.replacement)


def failing(folder: Path, tests: Iterable[str]) -> list[str]:
    """Runs tests until the first fails; returns its name, and nothing when all pass.

    Raises:
        RuntimeError: they could not be run.
    """
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--no-header", *tests]
    # Compiled modules are told apart by the second and the size: a fault may differ in neither.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPYCACHEPREFIX"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    failed = [line.split(" - ")[0].removeprefix("FAILED ") for line in done.stdout.splitlines() if line[:6] == "FAILED"]
    if done.returncode not in (0, 1) or bool(failed) != bool(done.returncode):
        raise RuntimeError(f"{' '.join(tests)} cannot be run: {(done.stdout + done.stderr)[-3000:]}")
    return failed


def caught(fault: Fault, folder: Path) -> str:
    """The test that fails with the fault in this copy of the tree; empty when none does."""
    file = folder / fault.file
    right = file.read_text()
    file.write_text(made(fault, right))
    try:
        return next(iter(failing(folder, [fault.tests])), "")
    finally:
        file.write_text(right)


def main() -> int:
    missed = 0
    with tempfile.TemporaryDirectory() as made_here:
        folder = copy(Path(made_here))
        if failed := failing(folder, sorted({fault.tests for fault in FAULTS})):
            print(f"without any fault {failed[0]} fails: mend that first", file=sys.stderr)
            return 1
        print("| fault | in | caught by |\n|---|---|---|")
        for fault in FAULTS:
            test = caught(fault, folder)
            missed += not test
            path, _, name = test.partition("::")
            shown = f"{Path(path).name}: `{name}`" if test else "**nothing**"
            print(f"| {fault.name} | {Path(fault.file).name} | {shown} |", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
