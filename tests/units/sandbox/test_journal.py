"""The journal of the AWS APIs: any mismatch stops the replay with one line, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import CommandError
from sandbox import journal
from sandbox.journal import Entry, Journal
from sandbox.machine import Answer


def answered(entry: Entry) -> Answer:
    """A machine that answers the same each time."""
    return Answer("200 OK", (("ETag", str(len(entry.body))),), entry.body[::-1] + entry.nonce.encode())


def filled(path: Path, count: int = 5) -> None:
    """A journal with entries."""
    written = Journal(path)
    assert list(written.entries()) == []
    for number in range(1, count + 1):
        entry = Entry(number, 1000.5 + number, {"REQUEST_METHOD": "POST"}, f"body {number}".encode())
        written.reserve(entry)
        written.add(entry, answered(entry))


def replayed(path: Path, machine: Callable[[Entry], Answer] = answered) -> Journal:
    """The journal, once everything in it was answered again."""
    read = Journal(path)
    for entry in read.entries():
        read.check(entry, machine(entry))
    return read


def refusal(path: Path, machine: Callable[[Entry], Answer] = answered) -> str:
    """The one line of a replay that must stop, and that leaves the journal as it is."""
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(CommandError) as caught:
        replayed(path, machine)
    assert (path.read_bytes() if path.exists() else None) == before
    line = str(caught.value)
    assert "\n" not in line and line.endswith("; nothing was changed or removed")
    assert "remove the sandbox and its data with `make down`" in line
    return line


@pytest.fixture
def path(tmp_path: Path) -> Path:
    filled(tmp_path / "aws.journal")
    return tmp_path / "aws.journal"


def test_goes_on_where_it_was(path: Path) -> None:
    read = replayed(path)
    assert read.count == 5
    entry = Entry(6, 1.0, {}, b"")
    read.add(entry, answered(entry))
    assert replayed(path).count == 6
    assert (path.stat().st_mode & 0o777, path.with_name("aws.journal.end").stat().st_mode & 0o777) == (0o600, 0o600)


def test_seed_is_kept_and_another_one_each_time(path: Path, tmp_path: Path) -> None:
    assert Journal(path).seed == Journal(path).seed
    assert len(Journal(path).seed) == 64
    assert Journal(tmp_path / "other").seed != Journal(path).seed


@pytest.mark.parametrize("rest", [b'{"digest": "00', b"\0" * 300], ids=["half a line", "room that was taken"])
def test_what_the_power_cut_is_dropped(path: Path, rest: bytes) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole + rest)
    assert replayed(path).count == 5
    assert path.read_bytes() == whole


def test_power_cut_before_the_end_was_noted(path: Path, tmp_path: Path) -> None:
    filled(tmp_path / "shorter", 4)
    end = path.with_name("aws.journal.end")
    noted = end.read_text()
    end.unlink()
    assert replayed(path).count == 5
    assert end.read_text() == noted


def test_room_that_was_not_needed(path: Path) -> None:
    read = replayed(path)
    size = path.stat().st_size
    read.reserve(Entry(6, 1.0, {}, b"x" * 1000))
    assert path.stat().st_size > size
    read.release()
    assert path.stat().st_size == size


@pytest.mark.parametrize("lines", [1, 3, 5])
def test_cut_at_its_end(path: Path, lines: int) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))
    assert f"it has {lines - 1} of 5 entries" in refusal(path)


def test_cut_within_a_line(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])
    assert "it has 4 of 5 entries" in refusal(path)


def test_line_taken_out(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert "line 3 got another answer than before" in refusal(path)


def test_emptied(path: Path) -> None:
    path.write_bytes(b"")
    assert "its first line is not from" in refusal(path)


def test_missing(path: Path) -> None:
    path.unlink()
    assert f"{path} is missing" in refusal(path)


@pytest.mark.parametrize("key, value", [("body", "AAAA"), ("time", 5.0), ("environ", {}), ("digest", "0" * 64)])
def test_edited(path: Path, key: str, value: object) -> None:
    lines = path.read_text().splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | {key: value})
    path.write_text("\n".join(lines) + "\n")
    assert "line 3 got another answer than before" in refusal(path)


@pytest.mark.parametrize("line", ["", "{}", "[]", "null", '{"digest": "'])
def test_line_that_is_none(path: Path, line: str) -> None:
    lines = path.read_text().splitlines()
    lines[3] = line
    path.write_text("\n".join(lines) + "\n")
    assert "line 4 was cut or edited" in refusal(path)


def test_seed_edited(path: Path) -> None:
    lines = path.read_text().splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | {"seed": "1"})
    path.write_text("\n".join(lines) + "\n")
    assert "line 2 got another answer than before" in refusal(path)


def test_of_another_sandbox(path: Path, tmp_path: Path) -> None:
    filled(tmp_path / "other", 7)
    path.write_bytes((tmp_path / "other").read_bytes())
    assert "it does not match aws.journal.end" in refusal(path)


def test_other_answers(path: Path) -> None:
    assert "line 2 got another answer than before" in refusal(path, lambda _: Answer("200 OK", (), b""))


def test_another_moto(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "VERSION", "99.0")
    assert "was written with moto 5." in refusal(path) and "99.0 is installed" in refusal(path)


def test_of_an_earlier_version_of_the_sandbox(path: Path) -> None:
    """Its journals had no first line, and no digests."""
    path.write_text(json.dumps({"environ": {"REQUEST_METHOD": "POST"}, "body": ""}) + "\n")
    assert "its first line is not from this version" in refusal(path)
