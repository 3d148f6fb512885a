"""The steps that run as the API's user, here as the test's user."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from comentarios.config import Settings as ApiSettings
from comentarios.storage import Moderation, NewComment, open_storage
from comentarios_backup import sqlite_steps as steps
from comentarios_backup.settings import BackupError, Settings

from tests.support.backup import comments_in, write


@pytest.fixture
def copy(settings: Settings, tmp_path: Path) -> Path:
    """A copy of a database with two comments, which has three by now."""
    write(settings, "0", "1")
    steps.dump(settings.sqlite_file, tmp_path / "copy")
    write(settings, "2")
    return tmp_path / "copy"


@pytest.fixture
def kept(settings: Settings) -> Path:
    return settings.sqlite_file.with_name("kept.db")


def test_copy(settings: Settings, copy: Path) -> None:
    assert steps.check(settings.sqlite_file, copy) == 2
    assert steps.count(settings.sqlite_file) == 3


def test_swap_and_back(settings: Settings, copy: Path, kept: Path) -> None:
    file = settings.sqlite_file
    assert steps.swap(file, copy, kept)
    assert comments_in(file) == ["0", "1"] and file.stat().st_mode & 0o777 == 0o644
    steps.swap_back(file, kept)
    assert comments_in(file) == ["0", "1", "2"]
    # Again, and before there was anything to undo.
    steps.swap_back(file, kept)
    os.link(file, kept)
    steps.swap_back(file, kept)
    assert comments_in(file) == ["0", "1", "2"] and not kept.exists()


@pytest.mark.parametrize("schema", [1, 2])
def test_what_operators_changed_after_the_backup(schema: int, settings: Settings, copy: Path, kept: Path) -> None:
    """It is changed again, before anything is listed; the backup may be of a release that had no audit log."""
    if schema == 1:
        with closing(sqlite3.connect(copy)) as opened:
            opened.executescript("DROP TABLE audit; PRAGMA user_version = 1")
    storage = open_storage(ApiSettings(database_url=f"sqlite:///{settings.sqlite_file}"))
    storage.engine.write([NewComment("1", "bob@example.com", "3", 0)])
    before = Moderation(storage.engine)
    before.hide([1], "me", "spam")
    before.erase("a@example.com", "me", "asked")
    before.hide([4], "me", "spam")
    storage.close()
    steps.swap(settings.sqlite_file, copy, kept)
    restored = open_storage(ApiSettings(database_url=f"sqlite:///{settings.sqlite_file}"))
    restored.ensure_migrated()
    after = Moderation(restored.engine)
    assert after.search(10) == []
    assert [(one["action"], one["comments"]) for one in after.audit(10)] == [("hide", 0), ("erase", 2), ("hide", 1)]
    restored.close()
    assert b"a@example.com" not in settings.sqlite_file.read_bytes()
    # Restored from the same backup again: the log is whole, and done again.
    steps.swap(settings.sqlite_file, copy, settings.sqlite_file.with_name("kept-2.db"))
    again = open_storage(ApiSettings(database_url=f"sqlite:///{settings.sqlite_file}"))
    again.ensure_migrated()
    assert Moderation(again.engine).search(10) == [] and len(Moderation(again.engine).audit(10)) == 3
    again.close()


def test_no_database_before(settings: Settings, copy: Path, kept: Path) -> None:
    settings.sqlite_file.unlink()
    assert steps.count(settings.sqlite_file) == 0
    assert not steps.swap(settings.sqlite_file, copy, kept)
    assert comments_in(settings.sqlite_file) == ["0", "1"] and not kept.exists()


def test_what_a_killed_restore_left(settings: Settings, copy: Path, kept: Path) -> None:
    folder = settings.sqlite_file.parent
    for name in ("restoring.db", "restoring-abc.db", "restoring-abc.db-wal"):
        (folder / name).write_text("")
    (folder / "restoring-folder").mkdir()
    steps.swap(settings.sqlite_file, copy, kept)
    assert {path.name for path in folder.iterdir()} == {"comentarios.db", "kept.db", "restoring-folder"}


def test_name_for_the_old_one_that_is_taken(settings: Settings, copy: Path, kept: Path) -> None:
    kept.write_text("mine")
    with pytest.raises(FileExistsError):
        steps.swap(settings.sqlite_file, copy, kept)
    assert comments_in(settings.sqlite_file) == ["0", "1", "2"] and kept.read_text() == "mine"
    assert not list(settings.sqlite_file.parent.glob("restoring*"))


def _link(file: Path) -> None:
    file.symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    "name", ["comentarios.db", "comentarios.db-journal", "comentarios.db-wal", "comentarios.db-shm"]
)
@pytest.mark.parametrize("plant", [_link, os.mkfifo, os.mkdir])
def test_no_file_in_its_place(plant: Callable[[Path], None], name: str, settings: Settings, copy: Path) -> None:
    file, kept = settings.sqlite_file, settings.sqlite_file.with_name("kept.db")
    file.with_name(name).unlink(missing_ok=True)
    plant(file.with_name(name))
    for step in (
        lambda: steps.dump(file, copy.with_name("other")),
        lambda: steps.check(file, copy),
        lambda: steps.count(file),
        lambda: steps.swap(file, copy, kept),
    ):
        with pytest.raises(BackupError, match="is not a regular file: find out who created it, and remove it"):
            step()
    assert not kept.exists() and not list(file.parent.glob("restoring*"))


@pytest.mark.parametrize("content", [b"no database at all", b"SQLite format 3\0" + b"\xff" * 4096])
def test_not_sqlite(content: bytes, settings: Settings, copy: Path) -> None:
    copy.write_bytes(content)
    with pytest.raises(BackupError, match="the copy cannot be opened: "):
        steps.check(settings.sqlite_file, copy)
    settings.sqlite_file.write_bytes(content)
    with pytest.raises(BackupError, match=f"{settings.sqlite_file} cannot be copied: "):
        steps.dump(settings.sqlite_file, copy.with_name("other"))


def test_corrupt_page(settings: Settings, tmp_path: Path) -> None:
    write(settings, *(str(number) + " " + "x" * 900 for number in range(30)))
    copy = tmp_path / "copy"
    steps.dump(settings.sqlite_file, copy)
    content = bytearray(copy.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    copy.write_bytes(content)
    with pytest.raises(BackupError, match="the copy is corrupt: |the copy cannot be opened: "):
        steps.check(settings.sqlite_file, copy)


def test_newer_schema(settings: Settings, copy: Path) -> None:
    with closing(sqlite3.connect(copy)) as opened:
        opened.execute("PRAGMA user_version = 99")
    with pytest.raises(BackupError, match="of schema 99"):
        steps.check(settings.sqlite_file, copy)
    settings.sqlite_file.unlink()
    assert steps.check(settings.sqlite_file, copy) == 2


def test_no_room(settings: Settings, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=1))
    with pytest.raises(BackupError, match="1 bytes free, but a backup needs "):
        steps.dump(settings.sqlite_file, copy.with_name("other"))


def test_command(settings: Settings, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert steps.main("count", str(settings.sqlite_file)) == 0
    assert json.loads(capsys.readouterr().out) == 3
    assert steps.main("swap", str(settings.sqlite_file), "/nowhere", "/nowhere/kept") == 1
    assert capsys.readouterr().err == "[Errno 2] No such file or directory: '/nowhere'\n"
