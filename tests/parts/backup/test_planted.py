"""A compromised API plants files in its folder: root's backup program reads and writes nothing through them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from comentarios_backup import __main__ as program
from comentarios_backup.settings import BackupError, Settings
from comentarios_backup.sqlite import Sqlite

from tests.support.backup import comments_in, write

API = 10001
SECRET = "root's alone"


def as_api(work: Callable[[], object]) -> None:
    """Does something in a child process as the API's user, who must be able to."""
    if child := os.fork():
        assert os.waitpid(child, 0)[1] == 0
        return
    try:
        os.setgroups([])
        os.setgid(API)
        os.setuid(API)
        work()
        os._exit(0)
    finally:
        os._exit(1)


@pytest.fixture
def victim(folder: Path) -> Iterator[Path]:
    """A file of root's that nobody else may read or write."""
    file = folder / "victim"
    file.write_text(SECRET)
    file.chmod(0o600)
    yield file
    assert (file.read_text(), file.stat().st_uid, file.stat().st_mode & 0o777) == (SECRET, 0, 0o600)


@pytest.fixture
def database(settings: Settings) -> Path:
    """The API's database, with one comment in the backup and one after it."""
    as_api(lambda: write(settings, "0"))
    program.run(settings)
    as_api(lambda: write(settings, "1"))
    return settings.sqlite_file


def test_what_is_restored_belongs_to_the_api(settings: Settings, database: Path) -> None:
    """No file there is root's, and the API goes on writing."""
    program.restore(settings, "")
    assert {path.stat().st_uid for path in database.parent.iterdir()} == {API}
    as_api(lambda: write(settings, "2"))
    assert comments_in(database) == ["0", "2"]


# Every name that a restore ever wrote to, and those that SQLite puts beside a database.
NAMES = ("restoring.db", "restoring.db-wal", "restoring.db-journal", "comentarios.db-wal", "comentarios.db-journal")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "fifo"])
def test_restore_among_planted_things(name: str, kind: str, settings: Settings, database: Path, victim: Path) -> None:
    """It does its work or says in one line why not, and never waits."""
    plants: dict[str, Callable[[Path], None]] = {
        "link": lambda path: path.symlink_to(victim),
        "dangling link": lambda path: path.symlink_to(victim.with_name("made-by-root")),
        "folder": os.mkdir,
        "fifo": os.mkfifo,
    }

    def plant() -> None:
        path = database.with_name(name)
        path.unlink(missing_ok=True)
        plants[kind](path)

    as_api(plant)
    try:
        program.restore(settings, "")
    except BackupError as error:
        assert "\n" not in str(error)
        assert name.startswith("comentarios")
    else:
        assert comments_in(database) == ["0"]
    assert not victim.with_name("made-by-root").exists()
    assert {path.lstat().st_uid for path in database.parent.iterdir()} == {API}


def test_link_in_the_databases_place(settings: Settings, database: Path, folder: Path, victim: Path) -> None:
    """Another database of the host, which only root may read, gets neither into a backup nor written to."""
    other = folder / "other.db"
    with closing(sqlite3.connect(other)) as opened, opened:
        opened.execute("CREATE TABLE comments (id, content_id, email, comment, created_ms)")
        opened.execute("INSERT INTO comments VALUES (1, '1', 'root@example.com', 'secret', 0)")
    other.chmod(0o600)
    before = other.read_bytes()
    as_api(database.unlink)
    as_api(lambda: database.symlink_to(other))
    names = [one["name"] for one in program.list_(settings)]
    with pytest.raises(BackupError, match="is not a regular file"):
        program.run(settings)
    with pytest.raises(BackupError, match="is not a regular file"):
        program.restore(settings, "")
    assert [one["name"] for one in program.list_(settings)] == names
    assert other.read_bytes() == before


def test_hot_journal_for_another_file(settings: Settings, database: Path, victim: Path, folder: Path) -> None:
    """A hard link to a database of another's, with a journal beside it that SQLite would roll back into it."""
    as_api(lambda: database.with_name("comentarios.db-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" * 64))
    os.link(victim, database.with_name("hard"))
    as_api(lambda: os.replace(database.with_name("hard"), database))
    with pytest.raises(BackupError, match="cannot be copied|unable to open"):
        program.run(settings)


def test_copy_is_the_apis_users_and_nobody_elses(settings: Settings, database: Path) -> None:
    """Others see neither the copy nor the compressed file while they are there."""
    seen = {}

    def look(_: object, copy: Path) -> int:
        for path in (copy, copy.parent, copy.parents[1], settings.work_dir):
            seen[path.name] = (path.stat().st_uid, path.stat().st_mode & 0o777)
        raise BackupError("seen")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sqlite, "check", look)
        with pytest.raises(BackupError, match="seen"):
            program.run(settings)
    assert seen == {"copy": (API, 0o644), "database": (API, 0o770), "now": (0, 0o711), "work": (0, 0o711)}
