"""Moderation with SQLite: erased bytes are gone from the file, an older release still works, and the program."""

import io
import json
import random
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from comentarios import moderate
from comentarios.config import Settings
from comentarios.storage import Moderation, NewComment, StorageUnavailable, open_storage
from comentarios.storage import sqlite as sqlite_module

ALICE, BOB = "alice@example.com", "bob.the.builder@example.com"


def bytes_of(path: Path) -> bytes:
    """Of the database and of its log."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def test_nothing_is_left_in_the_file(sqlite_url: str, tmp_path: Path) -> None:
    """In no page, free or not, and not in the log: among comments of every length, and after others were hidden."""
    path, lengths = tmp_path / "comentarios.db", random.Random(1)
    storage = open_storage(Settings(database_url=sqlite_url))
    operator = Moderation(storage.engine)
    for _ in range(30):
        for email in (BOB, ALICE):
            text = f"SECRET of {email} " + "x" * lengths.choice([1, 100, 5_000, 10_000])
            storage.add(NewComment("thread", email, text, 0))
    storage.add(NewComment("thread", ALICE, f"{BOB.upper()} wrote", 0))
    operator.hide(list(range(1, 60, 7)), "me", f"spam of {BOB}")
    operator.unhide(list(range(1, 60, 14)), "me", "no spam")
    assert BOB.encode() in bytes_of(path) and len(bytes_of(path)) > 300_000
    assert operator.erase(BOB, "me", f"asked by {BOB}") == (30, 1)
    left = bytes_of(path).lower()
    assert BOB.encode() not in left and b"bob.the" not in left
    assert left.count(b"secret of alice") >= 30
    assert storage.engine.slice("thread", 0, 100).length > 20
    with closing(sqlite3.connect(path)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    storage.close()


def test_log_that_is_being_read(sqlite_url: str, tmp_path: Path) -> None:
    """By a backup, say: the erasure waits for it, and others write in the meantime."""
    storage = open_storage(Settings(database_url=sqlite_url, busy_seconds=0.5))
    operator = Moderation(storage.engine)
    storage.add(NewComment("thread", BOB, "a", 0))
    path = tmp_path / "comentarios.db"
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM comments").fetchall()
        with pytest.raises(StorageUnavailable, match="which is being read: try again"):
            operator.erase(BOB, "me", "asked")
        storage.add(NewComment("thread", ALICE, "b", 0))
        ending = threading.Timer(0.05, reader.execute, ["COMMIT"])
        ending.start()
        operator.resume()
        ending.join()
    assert BOB.encode() not in bytes_of(path)
    assert all(one["done_ms"] for one in operator.audit(10))
    storage.close()


def test_older_release(sqlite_url: str, tmp_path: Path) -> None:
    """After a rollback: it knows the first schema, and shows nothing of what is hidden or erased."""
    storage = open_storage(Settings(database_url=sqlite_url))
    operator = Moderation(storage.engine)
    for email in (ALICE, BOB, ALICE):
        storage.add(NewComment("thread", email, "text", 0))
    operator.hide([1], "me", "spam")
    operator.erase(BOB, "me", "asked")
    storage.close()
    with closing(sqlite3.connect(tmp_path / "comentarios.db", isolation_level=None)) as older:
        assert sqlite_module.MIGRATIONS[older.execute("PRAGMA user_version").fetchone()[0] :] == ()
        listed = "SELECT id FROM comments WHERE content_id = ? AND id > ? ORDER BY id LIMIT ?"
        assert older.execute(listed, ("thread", 0, 10)).fetchall() == [(3,)]
        older.execute("INSERT INTO comments (content_id, email, comment, created_ms) VALUES ('thread', 'a', 'b', 1)")
    again = open_storage(Settings(database_url=sqlite_url))
    Moderation(again.engine).unhide([1], "me", "no spam")
    assert again.engine.slice("thread", 0, 10).length == 3
    again.close()


def test_database_of_an_older_release(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(sqlite_module, "MIGRATIONS", sqlite_module.MIGRATIONS[:1])
        storage = open_storage(Settings(database_url=sqlite_url))
        storage.engine.migrate()
        storage.engine.write([NewComment("thread", ALICE, "text", 0)])
        storage.close()
    newer = open_storage(Settings(database_url=sqlite_url))
    newer.ensure_migrated()
    newest = newer.engine.newest("thread")
    assert newest and newest.revision == 0
    newer.close()


class TestProgram:
    """`python -m comentarios.moderate`, by its standard input and output."""

    @pytest.fixture(autouse=True)
    def database(self, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", sqlite_url)
        storage = open_storage(Settings(database_url=sqlite_url))
        storage.add(NewComment("thread", ALICE, "text", 0))
        storage.close()

    @pytest.fixture
    def ask(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
        def run(**asked: object) -> tuple[int, str, str]:
            monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(asked)))
            return moderate.main(), *capsys.readouterr()

        return run

    def test_round(self, ask: Any, tmp_path: Path) -> None:
        for text in ("hide", "unhide"):
            status, out, err = ask(do=text, ids=[1], who="me", why="'; DROP TABLE comments; --")
            assert (status, json.loads(out), err) == (0, {"done": [1], "kept": []}, "")
        status, out, _ = ask(do="search", limit=1, email=ALICE)
        assert [one["comment"] for one in json.loads(out)["done"]] == ["text"]
        (tmp_path / "comentarios-before-1-abcd.db").touch()
        status, out, _ = ask(do="erase", email=ALICE, who="me", why="asked")
        assert json.loads(out) == {"done": [1, 0], "kept": ["comentarios-before-1-abcd.db"]}
        status, out, _ = ask(do="audit", limit=2)
        assert [one["action"] for one in json.loads(out)["done"]] == ["erase", "unhide"]

    def test_faults_are_one_line(self, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        for asked, said in (
            ({"do": "hide", "ids": [9], "who": "me", "why": "x"}, "there is no comment 9"),
            ({"do": "dance"}, "this release cannot dance: run `make release`"),
        ):
            status, out, err = ask(**asked)
            assert (status, out) == (1, "") and err.startswith(said) and err.count("\n") == 1
        monkeypatch.setenv("DATABASE_URL", "sqlite:////nowhere/at/all.db")
        status, out, err = ask(do="audit", limit=1)
        assert (status, out) == (1, "") and err.startswith("SQLITE_CANTOPEN") and err.count("\n") == 1
        monkeypatch.setenv("DATABASE_URL", "mysql://x")
        assert ask(do="audit", limit=1)[2].startswith("DATABASE_URL must start with")
