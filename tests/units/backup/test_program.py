"""Backups of a database during writes, what a restore refuses, and what it keeps."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from comentarios_backup import __main__ as program
from comentarios_backup import settings as settings_module
from comentarios_backup import sqlite, stack
from comentarios_backup.settings import BackupError, Settings
from comentarios_backup.stack import Stack
from comentarios_backup.store import Store, made_at
from comentarios_release import lock
from comentarios_release.records import GOOD, Record, Records
from comentarios_release.settings import ReleaseError

from tests.support.backup import Writer, backups_under_writes, comments_in, write
from tests.support.stand_ins import StandIns
from tests.units.backup.conftest import DOCKER

STOPPED = ["ps", "container", "stop"]
RESTORE = [*STOPPED, "start", "ps", "container"]


def what_happened(programs: StandIns) -> list[str]:
    """The second word of each command line: what was done to containers."""
    return [call.split()[1] for call in programs.calls]


def release(folder: Path, number: int, tag: str) -> None:
    """Makes a release that is live."""
    (folder / str(number)).mkdir(parents=True)
    record = Record(number, "release", number, None, "alice", 0, 0.0, image=f"api:{tag}", finished=1.0, outcome=GOOD)
    Records(folder).save(record)
    Records(folder).set_live(number)


def test_backups_of_a_database_that_is_written_to(settings: Settings, programs: StandIns) -> None:
    made = backups_under_writes(settings, 3)
    metrics = settings.metrics_file.read_text()
    assert f"comentarios_backup_comments {made[-1]['comments']}.000\n" in metrics
    assert "# TYPE comentarios_backup_last_success_timestamp_seconds gauge" in metrics
    assert program.list_(settings) == sorted(made, key=lambda one: made_at(str(one["name"])))
    assert not (settings.work_dir / "now").exists()


def test_restore_keeps_the_old_database(settings: Settings, programs: StandIns, tmp_path: Path) -> None:
    for number, tag in ((1, "abc122"), (2, "abc123")):
        release(tmp_path / "stack" / "releases", number, tag)
    write(settings, "0", "1")
    made = program.run(settings)
    write(settings, "2")
    done = program.restore(settings, "")
    assert done["restored"] == made and made["release"] == "abc123"
    assert (done["comments"], done["before"]) == (2, 3)
    assert comments_in(settings.sqlite_file) == ["0", "1"]
    assert comments_in(Path(done["kept"])) == ["0", "1", "2"]
    assert what_happened(programs) == RESTORE
    assert {path.name for path in settings.sqlite_file.parent.iterdir()} == {"comentarios.db", Path(done["kept"]).name}


def test_restore_says_which_backup_knows_more(settings: Settings, programs: StandIns) -> None:
    """Of what was hidden or erased after the one that is restored."""
    write(settings, "0")
    first, second = (str(program.run(settings)["name"]) for _ in range(2))
    older, newer = sorted((first, second), key=made_at)
    assert program.restore(settings, older)["newer"] == newer
    assert program.restore(settings, newer)["newer"] == "" == program.restore(settings, "")["newer"]


def test_restore_on_a_new_host(settings: Settings, programs: StandIns) -> None:
    """No database and no container yet: nothing to keep, nothing to stop."""
    write(settings, "0")
    program.run(settings)
    settings.sqlite_file.unlink()
    programs.add("docker")
    done = program.restore(settings, "")
    assert (done["before"], done["kept"]) == (0, "")
    assert comments_in(settings.sqlite_file) == ["0"]
    assert what_happened(programs) == ["ps", "ps"]


def test_api_that_does_not_start_with_it(settings: Settings, programs: StandIns, statuses: list[int]) -> None:
    """The old database comes back."""
    write(settings, "0")
    program.run(settings)
    write(settings, "1")
    statuses[:] = [503, 200]
    with pytest.raises(BackupError, match="not ready a minute after its start: `make logs SERVICE=api`"):
        program.restore(settings, "")
    assert comments_in(settings.sqlite_file) == ["0", "1"]
    assert what_happened(programs) == [*RESTORE, *RESTORE]
    assert [path.name for path in settings.sqlite_file.parent.iterdir()] == ["comentarios.db"]


@pytest.mark.parametrize("stage", ["before the link", "before the swap", "after the swap"])
def test_restore_that_is_interrupted(
    stage: str, settings: Settings, programs: StandIns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM while the databases are swapped: the old one is in its place, the API runs, and nothing is left over."""
    write(settings, "0")
    program.run(settings)
    write(settings, "1")
    step = sqlite.Sqlite._step

    def interrupted(self: Any, name: str, *paths: Any) -> Any:
        if name != "swap":
            return step(self, name, *paths)
        if stage == "before the swap":
            os.link(settings.sqlite_file, paths[1])
        elif stage == "after the swap":
            step(self, name, *paths)
        raise SystemExit("interrupted")

    monkeypatch.setattr(sqlite.Sqlite, "_step", interrupted)
    with pytest.raises(SystemExit):
        program.restore(settings, "")
    assert comments_in(settings.sqlite_file) == ["0", "1"]
    assert what_happened(programs) == [*STOPPED, *RESTORE]
    assert [path.name for path in settings.sqlite_file.parent.iterdir()] == ["comentarios.db"]


def test_restore_after_one_that_was_killed(settings: Settings, programs: StandIns) -> None:
    """It had stopped the API, which the engine does not start then, at a boot either."""
    write(settings, "0")
    program.run(settings)
    programs.add("docker", DOCKER.replace('"running"', '"exited"'))
    program.restore(settings, "")
    assert what_happened(programs) == ["ps", "container", "start", "ps", "container"]


def test_database_in_use_is_not_swapped(settings: Settings, programs: StandIns) -> None:
    with Writer(f"sqlite:///{settings.sqlite_file}") as writer:
        writer.wait(5)
        program.run(settings)
        with pytest.raises(BackupError, match="still in use: stop what uses it; nothing was changed"):
            program.restore(settings, "")
    assert len(comments_in(settings.sqlite_file)) >= 5
    assert what_happened(programs) == [*STOPPED, *RESTORE]


def spoil(kind: str, settings: Settings, s3: Any) -> str:
    """Makes a backup and overwrites it with one that is wrong in one way; returns its name."""
    name = str(program.run(settings)["name"])
    key = f"{settings.prefix}{name}"
    stored = s3.get_object(Bucket=settings.bucket, Key=key)
    body, facts = stored["Body"].read(), stored["Metadata"]
    if kind == "one byte differs":
        body = body[:-200] + bytes([body[-200] ^ 1]) + body[-199:]
    elif kind == "cut off":
        body = body[: len(body) // 2]
    elif kind == "no checksum beside it":
        facts = {}
    elif kind == "another's content":
        body = gzip.compress(b"SQLite format 3\0 and nothing more")
    elif kind == "another number of comments":
        facts |= {"comments": "7"}
    s3.put_object(Bucket=settings.bucket, Key=key, Body=body, Metadata=facts)
    return name


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("one byte differs", "is corrupt: "),
        ("cut off", "is corrupt: Compressed file ended"),
        ("no checksum beside it", "was not made by this project"),
        ("another's content", "is corrupt: its checksum is not the one beside it"),
        ("another number of comments", "holds 1 comments and was made with 7: choose another"),
    ],
)
def test_restore_refuses(kind: str, message: str, settings: Settings, s3: Any, programs: StandIns) -> None:
    """One line, and nothing was touched: the API was not even stopped."""
    write(settings, "0")
    name, before = spoil(kind, settings, s3), settings.sqlite_file.read_bytes()
    with pytest.raises(BackupError, match=message) as raised:
        program.restore(settings, name)
    assert "\n" not in str(raised.value)
    assert settings.sqlite_file.read_bytes() == before and not what_happened(programs)


def test_bomb(settings: Settings, programs: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that unpacks to more than there is room for is refused before the disk is full."""
    write(settings, *("x" * 20000 for _ in range(100)))
    program.run(settings)
    usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=1 << 20))
    with pytest.raises(BackupError, match="there is not enough space in "):
        program.restore(settings, "")
    assert not what_happened(programs)


def test_overwritten_backup(settings: Settings, s3: Any, programs: StandIns) -> None:
    """The version before is listed, named where the newer one is refused, and restored by that name."""
    write(settings, "0")
    name = spoil("cut off", settings, s3)
    write(settings, "1")
    with pytest.raises(BackupError, match="choose another") as raised:
        program.restore(settings, name)
    older = str(raised.value).rpartition("FROM=")[2]
    assert [one["name"] for one in program.list_(settings)] == [name, older]
    assert program.restore(settings, older)["comments"] == 1
    assert comments_in(settings.sqlite_file) == ["0"]


def test_deleted_backup(settings: Settings, s3: Any, programs: StandIns) -> None:
    """It is not listed; who asks for it by name is told how to get it."""
    write(settings, "0")
    name = program.run(settings)["name"]
    s3.delete_object(Bucket=settings.bucket, Key=f"{settings.prefix}{name}")
    assert program.list_(settings) == []
    with pytest.raises(BackupError, match=f"there is no backup {name}: .*FROM={name}@"):
        program.restore(settings, name)


def test_backup_is_never_overwritten(settings: Settings, s3: Any, tmp_path: Path) -> None:
    """By the program, either: one that S3 has already is an error, unless it is the very same."""
    store, name = Store(settings), "20260101T000000Z-0000.sqlite.gz"
    file = tmp_path / "copy"
    file.write_text("one")
    made = store.put(file, tmp_path / "packed", name, 1, "abc")
    (tmp_path / "packed").unlink()
    assert store.put(file, tmp_path / "packed", name, 1, "abc") == made
    file.write_text("another")
    with pytest.raises(BackupError, match="differs from what was uploaded: try again"):
        store.put(file, tmp_path / "packed-2", name, 1, "abc")
    assert store.names() == [name]


def test_list_names_what_is_not_ours(settings: Settings, s3: Any, programs: StandIns) -> None:
    write(settings, "0")
    made = program.run(settings)
    s3.put_object(Bucket=settings.bucket, Key=f"{settings.prefix}foreign", Body=b"")
    assert program.list_(settings) == [made, {"name": "foreign"}]


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["CREATE TABLE users (id INTEGER)"], "another kind of database: it has no table of comments"),
        (
            ["CREATE TABLE comments (id, content_id, email, comment, created_ms)", "PRAGMA user_version = 99"],
            "of schema 99 and the release that is live knows \\d: release a newer one first",
        ),
    ],
)
def test_restore_refuses_other_databases(
    statements: list[str], message: str, settings: Settings, programs: StandIns, tmp_path: Path
) -> None:
    """Whole, with a right checksum, and not the comments'; or of a schema that the live release does not know."""
    write(settings, "0")
    with closing(sqlite3.connect(tmp_path / "other")) as opened:
        for statement in statements:
            opened.execute(statement)
    name = "20260101T000000Z-0000.sqlite.gz"
    Store(settings).put(tmp_path / "other", tmp_path / "packed", name, 0, "abc")
    with pytest.raises(BackupError, match=message):
        program.restore(settings, name)
    assert not what_happened(programs)


def test_what_cannot_be_backed_up(
    settings: Settings, programs: StandIns, monkeypatch: pytest.MonkeyPatch, s3: Any
) -> None:
    """Each is one line that says what to do, and no metric says that a backup was made."""
    with pytest.raises(BackupError, match="the API has never started"):
        program.run(settings)
    with pytest.raises(BackupError, match="no backup of this kind"):
        program.restore(settings, "")
    with pytest.raises(BackupError, match="there is no backup yesterday: `make backups`"):
        program.restore(settings, "yesterday")
    with pytest.raises(BackupError, match="cannot be listed"):
        program.restore(replace(settings, bucket="no-such-bucket"), "")
    with pytest.raises(BackupError, match="cannot be accessed .*: run `make up`"):
        program.run(replace(settings, sqlite_file=settings.work_dir / "none" / "comentarios.db"))
    write(settings, "0")
    with pytest.raises(BackupError, match="cannot be listed"):
        program.run(replace(settings, bucket="no-such-bucket"))
    assert not settings.metrics_file.exists()
    s3.put_object(
        Bucket=settings.bucket,
        Key=f"{settings.prefix}x.pgdump.gz",
        Body=b"",
        Metadata={"comments": "1", "release": "abc", "sha256": "0"},
    )
    with pytest.raises(
        BackupError, match="x.pgdump.gz is of another kind of database: choose one that ends in .sqlite"
    ):
        program.restore(settings, "x.pgdump.gz")


def test_no_room(settings: Settings, programs: StandIns, monkeypatch: pytest.MonkeyPatch) -> None:
    write(settings, "0")
    made = program.run(settings)
    usage = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(path)._replace(free=1))
    with pytest.raises(BackupError, match=f"1 bytes free, but {2 * made['size']} are needed: free some space"):
        program.restore(settings, "")


def test_step_that_hangs_or_dies(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sqlite, "SECONDS", 0)
    with pytest.raises(BackupError, match="count took longer than 0 s"):
        sqlite.Sqlite(settings.sqlite_file).count()
    monkeypatch.setattr(sqlite, "SECONDS", 60)
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killed))
    with pytest.raises(BackupError, match="comentarios.db: count failed: exit status -9"):
        sqlite.Sqlite(settings.sqlite_file).count()


def test_copy_that_is_no_file(settings: Settings, s3: Any, tmp_path: Path) -> None:
    """What another user has made is not followed, and not waited for."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to("secret")
    os.mkfifo(tmp_path / "fifo")
    for name, message in (("link", "cannot be read"), ("fifo", "is not a regular file"), ("none", "cannot be read")):
        with pytest.raises(BackupError, match=message):
            Store(settings).put(tmp_path / name, tmp_path / f"packed-{name}", "x", 0, "")
    assert Store(settings).names() == []


class TestStack:
    def test_slow_start(
        self, here: Stack, programs: StandIns, statuses: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Started once, and asked until it is ready."""
        monkeypatch.setattr(stack, "READY_SECONDS", 60)
        monkeypatch.setattr(time, "sleep", lambda _: None)
        statuses[:] = [503, 503, 200]
        here.start(here.stop())
        assert what_happened(programs) == [*STOPPED, "start", *["ps", "container"] * 3]

    @pytest.mark.parametrize("address", ["127.0.0.2", ""])
    def test_replica_that_does_not_listen(self, address: str, here: Stack, programs: StandIns) -> None:
        programs.add("docker", DOCKER.replace("127.0.0.1", address))
        with pytest.raises(BackupError, match="not ready"):
            here.start(here.stop())

    def test_replica_that_is_gone(self, here: Stack, programs: StandIns) -> None:
        running = here.stop()
        programs.add("docker")
        with pytest.raises(BackupError, match="not ready"):
            here.start(running)

    def test_somebody_releases(self, here: Stack, tmp_path: Path) -> None:
        folder = tmp_path / "stack" / "releases"
        with here.held(), pytest.raises(ReleaseError, match="restore has been working"), lock.hold(folder, "alice"):
            raise AssertionError("it is held twice")
        with lock.hold(folder, "alice"), pytest.raises(ReleaseError, match="alice has been working"), here.held():
            raise AssertionError("it is held twice")

    def test_what_fails(self, here: Stack, programs: StandIns, tmp_path: Path) -> None:
        assert here.release() == ""
        release(tmp_path / "stack" / "releases", 1, "abc122")
        (tmp_path / "stack" / "releases" / "live.json").write_text("{")
        assert here.release() == ""
        programs.add("docker", "exit 1")
        with pytest.raises(ReleaseError, match="`docker ps --all --quiet …` ended with 1"):
            here.stop()


class TestCommand:
    """The command line: JSON, or one line on standard error."""

    @pytest.fixture(autouse=True)
    def command(self, settings: Settings, tmp_path: Path, programs: StandIns, monkeypatch: pytest.MonkeyPatch) -> Any:
        self.file, self.patch = tmp_path / "backup.json", monkeypatch
        self.file.write_text(json.dumps(asdict(settings), default=str))
        monkeypatch.setattr(Settings.read.__func__, "__defaults__", (self.file,))  # type: ignore[attr-defined]
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        yield
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def call(self, *arguments: str) -> int:
        self.patch.setattr(sys, "argv", ["comentarios-backup", *arguments])
        return program.main()

    def test_whole_way(self, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
        write(settings, "0")
        assert self.call("run") == 0
        name = json.loads(capsys.readouterr().out)["name"]
        assert self.call("list") == 0
        assert [one["name"] for one in json.loads(capsys.readouterr().out)] == [name]
        assert self.call("restore", f"--from={name}") == 0
        assert json.loads(capsys.readouterr().out)["comments"] == 1

    def test_errors(self, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.call("run") == 1
        assert capsys.readouterr().err == f"{settings.sqlite_file} does not exist: the API has never started\n"
        settings.work_dir.rename(settings.work_dir.with_name("folder"))
        settings.work_dir.write_text("")
        assert self.call("run") == 1
        assert "File exists" in capsys.readouterr().err

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"bucket": "b"}', '{"surplus": 1}'])
    def test_settings_that_cannot_be_read(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.file.write_text(text)
        assert self.call("run") == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(str(self.file)) and line.endswith("run `ansible-playbook site.yml --tags backup`")

    def test_settings_that_are_missing(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.file.unlink()
        assert self.call("list") == 1
        assert "cannot be read" in capsys.readouterr().err
        assert Path("/etc/comentarios/backup.json") == settings_module.FILE

    def test_sigterm(self, settings: Settings) -> None:
        """It ends the program by its way back, not in its middle."""
        self.patch.setattr(program, "list_", lambda _: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(SystemExit, match="interrupted"):
            self.call("list")
