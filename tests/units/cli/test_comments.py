"""The verbs for comments, with the API's program and database, and fakes for SSH and Docker."""

from __future__ import annotations

import getpass
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comentarios.config import Settings
from comentarios.storage import NewComment, Storage, open_storage

from cli import backup, comments, host
from cli.targets import Target
from common.errors import CommandError
from common.paths import ROOT
from tests.support.stand_ins import StandIns

ALICE, BOB = "alice@example.com", "bob@example.com"
HOSTILE = '\'; touch made; $(touch made) `touch made` "{{ 1 }}" -x é'
RULES = [
    {"Expiration": {"Days": 30}},
    {"Expiration": {"Days": 2}},
    {"NoncurrentVersionExpiration": {"NoncurrentDays": 2}},
]


class S3:
    """The bucket's rules, as boto3 gives them."""

    rules: list[dict[str, Any]] = RULES

    class meta:
        region_name = "eu-west-1"

    def get_bucket_lifecycle_configuration(self, **asked: str) -> dict[str, Any]:
        assert asked == {"Bucket": "comentarios-123456789012-eu-west-1-backup"}
        return {"Rules": self.rules}


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target("sandbox", tmp_path, {})


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    """A host whose engine has one container; what is executed in it runs here."""
    programs = StandIns(tmp_path / "programs", monkeypatch)
    run = f'PYTHONPATH={ROOT}/api DATABASE_URL=sqlite:///{tmp_path}/comentarios.db exec {sys.executable} "$@"'
    programs.add("docker", f'case "$1" in ps) echo one ;; exec) shift 4; {run} ;; esac')
    monkeypatch.setattr(host, "hosts", lambda _: [host.Host("comentarios-1", "192.0.2.1", "admin", "i-1")])
    monkeypatch.setattr(host, "ssh", lambda _, __, command: ["sh", "-c", command])
    monkeypatch.setattr(comments, "client", lambda _, __: S3())
    monkeypatch.setattr(comments, "account", lambda _: "123456789012")
    monkeypatch.setattr(backup, "backup", lambda *_: print("backup"))
    return programs


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = open_storage(Settings(database_url=f"sqlite:///{tmp_path}/comentarios.db"))
    now = time.time_ns() // 1_000_000
    for number, email in enumerate((ALICE, BOB, BOB)):
        opened.add(NewComment("1", email, f"comment {number}", now - 7_200_000 + number))
    yield opened
    opened.close()


@pytest.mark.usefixtures("storage")
def test_round(target: Target, site: StandIns, capsys: pytest.CaptureFixture[str]) -> None:
    """Found, hidden, shown again, erased; and each in the log. Nothing that people give is on a command line."""
    comments.comments(target)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines] == ["comment", "2", "1", "0"] and "hidden" not in str(lines)
    comments.hide(target, "2 3", HOSTILE)
    comments.hide(target, "3", "again")
    assert capsys.readouterr().out.splitlines() == [
        "comment 2 is hidden",
        "comment 3 is hidden",
        "comment 3 was already hidden",
    ]
    comments.comments(target, email=BOB)
    assert capsys.readouterr().out.count(" hidden ") == 2
    comments.unhide(target, "2", "no spam")
    assert capsys.readouterr().out == "comment 2 is visible\n"
    comments.erase(target, BOB, f"{BOB} asked")
    said = capsys.readouterr().out
    assert "erased: 2 comments of the address, and the address in 0 others" in said and said.endswith("backup\n")
    assert re.search(
        r"until \d{4}-\d\d-\d\d at the latest: they expire after 2 days, each day's first after 30, and", said
    )
    comments.comments(target)
    assert capsys.readouterr().out.splitlines()[1:] == [lines[3]]
    comments.audit(target)
    header, *entries = capsys.readouterr().out.splitlines()
    assert [entry.split()[1] for entry in entries] == ["erase", "unhide", "hide", "hide"]
    assert all(getpass.getuser() in entry for entry in entries)
    assert entries[0].endswith("[erased] asked") and entries[2].endswith(HOSTILE)
    assert set(site.calls) == {
        "docker ps --quiet --filter label=com.docker.compose.service=api",
        "docker exec --interactive one python -m comentarios.moderate",
    }
    assert not Path("made").exists()


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({"thread": "1", "grep": "COMMENT 1"}, "1"),
        ({"since": "3h"}, "210"),
        ({"since": "1h"}, ""),
        ({"until": "1h", "email": ALICE}, "0"),
        ({"until": "2026-01-31T12:00Z"}, ""),
        ({"since": "2026-01-31T12:00:00.5"}, "210"),
        ({"thread": HOSTILE, "email": HOSTILE, "grep": HOSTILE}, ""),
    ],
)
def test_search(target: Target, capsys: pytest.CaptureFixture[str], asked: dict[str, str], numbers: str) -> None:
    comments.comments(target, **asked)
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:]] == list(numbers)


def test_nothing_found(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    comments.comments(target)
    comments.comments(target, thread="1", email="me@example.com")
    said = "there is no comment\nthere is no comment with THREAD=1 EMAIL=me@example.com\n"
    assert capsys.readouterr().out == said


def test_table_is_bounded_and_can_be_continued(
    target: Target, storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.engine.write([NewComment("many", ALICE, f"n{number}", number) for number in range(comments.ROWS + 1)])
    comments.comments(target, thread="many")
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == comments.ROWS + 1 and "there are more" in last
    comments.comments(target, thread="many", until=last.partition("UNTIL=")[2])
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()[1:]] == ["n1", "n0"]


def test_texts_of_strangers_in_a_terminal(target: Target, storage: Storage, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, and no control characters; the longest ones are cut."""
    storage.engine.write(
        [NewComment("\x1b[2J\n" + "t" * 300, f"a\u202e@example.com{'m' * 50}", "é\r\n\x1b]0;x\x07" * 99, 0)]
    )
    comments.comments(target, until="2000-01-01T00:00Z")
    (_, line) = capsys.readouterr().out.splitlines()
    assert line.isprintable() and "·[2J·ttt" in line and "a·@example" in line and len(line) < 180


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize(
    ("verb", "asked", "said"),
    [
        ("hide", {"id_": "", "why": ""}, "ID and WHY must be given: make hide ID=57 WHY=spam"),
        ("unhide", {"id_": "1", "why": " "}, "WHY must be given: make unhide ID=57"),
        ("hide", {"id_": "1 9", "why": "x"}, "comentarios-1: there is no comment 9, and nothing was changed"),
        ("erase", {"email": "", "why": "x"}, "EMAIL must be given: make erase EMAIL="),
        (
            "erase",
            {"email": "Alice <alice@example.com>", "why": "x"},
            "EMAIL=Alice <alice@example.com> is not an e-mail",
        ),
        ("comments", {"since": "2026-13-31T12:00:00Z"}, "SINCE=2026-13-31T12:00:00Z is not a time: "),
        ("comments", {"until": "9999d"}, ""),
        ("comments", {"host_": "nobody"}, "HOST=nobody is not known"),
    ],
)
def test_faults(target: Target, verb: str, asked: dict[str, str], said: str) -> None:
    """One line, before anything changes."""
    if said:
        with pytest.raises(CommandError, match=f"^{re.escape(said)}") as raised:
            getattr(comments, verb)(target, **asked)
        assert "\n" not in str(raised.value)
    else:
        getattr(comments, verb)(target, **asked)
    comments.hide(target, "1", "was not changed")


@pytest.mark.parametrize(
    ("docker", "said"),
    [
        ("exit 0", "comentarios-1: no replica of the API is running: see make status"),
        (
            "[ $1 = ps ] && echo one || { echo 'python: No module named comentarios.moderate' >&2; exit 1; }",
            "comentarios-1: the live release is too old for this: run `make release`",
        ),
        ("[ $1 = ps ] && echo one || exit 137", "comentarios-1: exit status 137: run the same command again"),
    ],
)
def test_container_that_cannot(target: Target, site: StandIns, docker: str, said: str) -> None:
    site.add("docker", docker)
    with pytest.raises(CommandError) as raised:
        comments.audit(target)
    assert str(raised.value) == said


@pytest.mark.usefixtures("storage")
def test_parked_site_keeps_its_backups(
    target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(S3, "rules", RULES[2:])
    comments.erase(target, ALICE, "asked")
    assert "existing backups still contain it, and nothing expires while the site is parked" in capsys.readouterr().out
