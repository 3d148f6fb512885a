"""A move from one SQLite file to another; tests/parts has it with PostgreSQL."""

import io
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from comentarios import move
from comentarios.config import Settings
from comentarios.move import Database, Move, MoveError
from comentarios.storage import Moderation, NewComment, Storage, StorageUnavailable, open_storage
from memory import folder_in_memory

Row = tuple[Any, ...]


class Killed(BaseException):
    """The program is gone, as by SIGKILL."""


class Site:
    """Two databases, the API's storage over the live one, and what a release answers to a step's lines."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.folder = folder
        self.monkeypatch = monkeypatch
        self.live = self.storage("a")
        self.live.ensure_migrated()
        self.told: list[dict[str, object]] = []
        self.meanwhile: dict[str, Callable[[], object]] = {}

    def storage(self, name: str) -> Storage:
        return open_storage(Settings(database_url=f"sqlite:///{self.folder}/{name}", busy_seconds=0.05))

    def add(self, *texts: str, to: Storage | None = None) -> None:
        for text in texts:
            (to or self.live).add(NewComment(text[0], "a@example.com", text, len(text)))

    def step(self, name: str, source: str = "a", target: str = "b") -> None:
        """Each connection is a new one, as for a new process."""
        self.told = []
        found = [self.database(one) for one in (source, target)]
        try:
            getattr(Move(found[0], lambda: found[1], self._tell), name)()
        finally:
            for one in found:
                one.connection.close()

    def database(self, name: str) -> Database:
        self.monkeypatch.setenv("FROM", f"sqlite:///{self.folder}/{name}")
        return move.connect("FROM")

    def _tell(self, **facts: object) -> None:
        self.told.append(facts)
        if act := self.meanwhile.pop(str(facts["step"]), None):
            act()

    def rows(self, name: str) -> list[Row]:
        with sqlite3.connect(self.folder / name) as opened:
            return opened.execute("SELECT id, content_id, email, comment, created_ms FROM comments").fetchall()

    def change(self, name: str, statement: str) -> None:
        with sqlite3.connect(self.folder / name) as opened:
            opened.execute(statement)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with folder_in_memory(tmp_path) as made:
        yield made


@pytest.fixture
def site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(move, "BATCH", 3)
    monkeypatch.setattr(move, "PAUSE", 0)
    made = Site(folder, monkeypatch)
    made.add(*(f"{number % 3} comment {number}" for number in range(10)))
    yield made
    made.live.close()


def test_everything_arrives_as_it_was(site: Site) -> None:
    site.change("a", "DELETE FROM comments WHERE id IN (2, 5)")
    site.step("copy")
    site.step("finish")
    assert site.rows("b") == site.rows("a") and len(site.rows("b")) == 8
    assert site.told[-1] == {"step": "moved", "comments": 8}
    later = site.storage("b")
    site.add("after the move", to=later)
    assert site.rows("b")[-1][0] == 11
    later.close()


def test_comments_that_arrive_meanwhile_are_taken_along(site: Site) -> None:
    site.meanwhile["copying"] = lambda: site.add("while it copies")
    site.step("copy")
    site.meanwhile["hold"] = lambda: site.add(*("before the lock " + str(one) for one in range(5)))
    site.step("finish")
    assert site.rows("b") == site.rows("a") and len(site.rows("b")) == 16


def test_the_old_database_takes_no_more_writes(site: Site) -> None:
    """Whoever sends them: the API's own storage says why, in the log; reads go on."""
    site.step("finish")
    with pytest.raises(StorageUnavailable, match="the comments were moved to SQLite on "):
        site.add("late")
    for statement in ("DELETE FROM comments", "UPDATE comments SET comment = ''"):
        with pytest.raises(sqlite3.IntegrityError, match="were moved"):
            site.change("a", statement)
    assert site.live.page("1", 0, 100, 10_000).length == 3
    site.live.ping()


def test_changes_are_refused_while_it_compares_and_not_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """So what was compared stays the same until the switch. If the program is killed, the refusal ends by itself."""

    def erase() -> None:
        with pytest.raises(sqlite3.IntegrityError, match="are being moved: try again later"):
            site.change("a", "DELETE FROM comments WHERE id = 1")
        raise Killed

    site.meanwhile["hold"] = erase
    with pytest.raises(Killed):
        site.step("finish")
    with pytest.raises(sqlite3.IntegrityError):
        site.change("a", "DELETE FROM comments WHERE id = 1")
    monkeypatch.setattr(move, "FROZEN_SECONDS", -1)
    site.meanwhile["hold"] = erase
    with pytest.raises(pytest.fail.Exception):
        site.step("finish")
    site.change("a", "DELETE FROM comments WHERE id = 1")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE comments SET comment = 'hidden' WHERE id = 4",
        "DELETE FROM comments WHERE id = 1",
        "DELETE FROM comments WHERE id = 10",
        "UPDATE comments SET created_ms = 7 WHERE id = 10",
    ],
)
def test_rows_that_changed_after_they_were_copied(site: Site, statement: str) -> None:
    site.step("copy")
    site.change("a", statement)
    site.step("finish")
    assert site.rows("b") == site.rows("a")


def test_there_and_back(site: Site) -> None:
    """The old copy is brought up to date: what was added, changed and erased meanwhile."""
    site.step("copy")
    site.step("finish")
    with_b = site.storage("b")
    site.add("by b", "again by b", to=with_b)
    site.change("b", "DELETE FROM comments WHERE id = 3")
    site.step("copy", "b", "a")
    with pytest.raises(StorageUnavailable):
        site.add("too early")
    site.step("finish", "b", "a")
    site.add("by a")
    assert [row[0] for row in site.rows("a")] == [1, 2, *range(4, 14)]
    with pytest.raises(StorageUnavailable):
        site.add("late", to=with_b)
    with_b.close()


@pytest.mark.parametrize("switched", [True, False])
def test_a_finished_move_is_undone_with_what_came_since(site: Site, switched: bool) -> None:
    site.step("finish")
    with_b = site.storage("b")
    if switched:
        site.add("by b", to=with_b)
    site.step("undo")
    site.add("by a again")
    assert len(site.rows("a")) == 11 + switched
    with pytest.raises(StorageUnavailable):
        site.add("late", to=with_b)
    site.step("undo")
    assert len(site.rows("a")) == 11 + switched
    with_b.close()


def test_an_unfinished_move_is_undone(site: Site) -> None:
    site.step("copy")
    site.meanwhile["hold"] = lambda: (_ for _ in ()).throw(Killed)
    with pytest.raises(Killed):
        site.step("finish")
    site.step("undo")
    site.add("goes on")
    site.change("a", "DELETE FROM comments WHERE id = 1")


def test_killed_at_any_statement_it_carries_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every statement of a finish and of an undo, each run again after the kill: nothing that was taken is lost."""
    original, connect = Database.run, sqlite3.connect

    def interrupted(step: str, after: int) -> bool:
        opened: list[sqlite3.Connection] = []
        left = [after]

        def connected(*given: Any, **options: Any) -> sqlite3.Connection:
            made: sqlite3.Connection = connect(*given, **options)
            opened.append(made)
            return made

        def run(self: Database, statement: str, *values: object) -> Any:
            if left[0] <= 0:
                raise Killed
            left[0] -= 1
            return original(self, statement, *values)

        with monkeypatch.context() as patched:
            patched.setattr(move.Sqlite, "run", run)
            patched.setattr(sqlite3, "connect", connected)
            try:
                site.step(step)
            except Killed:
                return True
            finally:
                # As the kernel would.
                for one in opened:
                    one.close()
        return False

    def taken(*by: Storage) -> None:
        """A comment that the first takes, or the second one where the first is sealed; neither may be open."""
        text = f"taken {len(acknowledged)}"
        for storage in by:
            with suppress(StorageUnavailable):
                site.add(text, to=storage)
                acknowledged.append(text)
                return
        refused.append(text)

    monkeypatch.setattr(move, "BATCH", 1000)
    acknowledged = [row[3] for row in site.rows("a")]
    refused: list[str] = []
    with_b = site.storage("b")
    for step, opposite in (("finish", "undo"), ("undo", "finish")):
        source, target = (site.live, with_b) if step == "finish" else (with_b, site.live)
        killed, after = True, 0
        while killed:
            taken(source)
            killed = interrupted(step, after)
            taken(source, target)
            if killed:
                site.step(step)
            taken(target)
            assert [row[3] for row in site.rows("b" if step == "finish" else "a")] == acknowledged
            if killed:
                site.step(opposite)
                after += 1
        assert after > 20
    # For a moment neither is open; never are both, so that one would miss what the other takes.
    assert 0 < len(refused) < 40
    with_b.close()


def test_a_second_run_after_the_seal_says_that_it_is_done(site: Site) -> None:
    site.step("finish")
    later = site.storage("b")
    site.add("by b", to=later)
    site.step("finish")
    assert site.told == [{"step": "moved", "comments": 11}]
    later.close()
    with pytest.raises(MoveError, match="were moved elsewhere already: it is not the live one"):
        site.step("copy")
    with pytest.raises(MoveError, match="were moved elsewhere already: it is not the live one"):
        site.step("finish", "a", "c")


def test_comments_of_another_site_are_not_overwritten(site: Site) -> None:
    other = site.storage("b")
    site.add("another site's", to=other)
    with pytest.raises(MoveError, match="holds 1 comments that are not a copy of this site's: rename its file"):
        site.step("copy")
    assert site.rows("b") == [(1, "a", "a@example.com", "another site's", 14)]
    other.close()


def test_the_same_database_twice(site: Site) -> None:
    with pytest.raises(MoveError, match="both names lead to the same database"):
        site.step("copy", "a", "a")
    site.add("goes on")


def test_a_lock_that_takes_too_long_leaves_the_source_live(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(move, "LOCKED_SECONDS", -1.0)
    with pytest.raises(MoveError, match="were not copied within"):
        site.step("finish")
    site.add("goes on")


def test_a_table_without_a_key_is_not_left_behind(site: Site) -> None:
    for columns in ("text TEXT", "text TEXT, id INTEGER PRIMARY KEY", "a INTEGER, b INTEGER, PRIMARY KEY (a, b)"):
        site.change("a", f"CREATE TABLE notes ({columns})")
        with pytest.raises(MoveError, match="the key of table notes is not its first column"):
            site.step("copy")
        site.change("a", "DROP TABLE notes")
    site.change("a", "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)")
    with pytest.raises(MoveError, match="the tables differ"):
        site.step("copy")


def test_what_operators_did_is_moved_too(site: Site) -> None:
    """What was hidden stays hidden, the audit log comes along, and lists keep their revision."""
    moderation = Moderation(site.live.engine)
    hidden = moderation.hide([4], "ann@laptop", "spam")
    before = site.live.page("0", 0, 10, 10_000)
    refused: list[Exception] = []

    def hide() -> None:
        with pytest.raises(StorageUnavailable, match="being moved: try again later") as raised:
            moderation.hide([7], "ann@laptop", "spam")
        refused.append(raised.value)

    site.meanwhile["hold"] = hide
    site.step("finish")
    moved = site.storage("b")
    there = Moderation(moved.engine)
    assert hidden == [4] and refused and moved.page("0", 0, 10, 10_000) == before
    assert there.audit(10) == moderation.audit(10) and len(there.audit(10)) == 1
    assert there.unhide([4], "ann@laptop", "no spam") == [4]
    moved.close()


def test_other_tables_are_moved_too(site: Site) -> None:
    for name in ("a", "b"):
        site.database(name).connection.close()
        site.change(name, "CREATE TABLE notes (at_ms INTEGER PRIMARY KEY, text TEXT)")
    site.change("a", "INSERT INTO notes VALUES (4, 'kept')")
    site.step("copy")
    site.change("a", "UPDATE notes SET text = 'changed'")
    site.change("a", "INSERT INTO notes VALUES (2, 'new')")
    site.step("finish")
    with sqlite3.connect(site.folder / "b") as opened:
        assert opened.execute("SELECT * FROM notes").fetchall() == [(2, "new"), (4, "changed")]


def test_nobody_answers(site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The release was killed: the step ends before it seals anything."""
    monkeypatch.setenv("FROM", f"sqlite:///{site.folder}/a")
    monkeypatch.setenv("TO", f"sqlite:///{site.folder}/b")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert move.main("finish") == 1
    assert capsys.readouterr().err == "nobody answers: the release has ended\n"
    site.add("goes on")


def test_a_database_that_does_not_answer(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM", "postgresql://u:secret@127.0.0.1:1/x")
    assert move.main("copy") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "secret" not in said and "127.0.0.1" in said
