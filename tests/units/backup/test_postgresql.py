"""PostgreSQL's swap of databases, with every possible failure. Its clients are fakes whose databases are folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from comentarios_backup import __main__ as program
from comentarios_backup.postgresql import BESIDE, Postgresql
from comentarios_backup.settings import BackupError, Settings

from tests.support.stand_ins import StandIns

URL = "postgresql://api:p%40ss@db.example.com:5432/comentarios?sslmode=require"
PSQL = r"""
for last; do case "$last" in --command=*) statement=${last#--command=} ;; esac; done
[ "$PGPASSWORD" = 'p@ss' ] || { echo 'psql: error: password' >&2; exit 2; }
if [ -e "$HERE/fail" ] && [ "${statement#*$(cat "$HERE/fail")}" != "$statement" ]; then
  echo 'psql: error: the connection was lost' >&2; exit 2
fi
here=${last%%\?*}; here=$HERE/${here##*/}
name=${statement#*[\"\']}; name=${name%%[\"\']*}
case "$statement" in
'DROP DATABASE IF EXISTS '*) rm -rf "$HERE/$name" ;;
'CREATE DATABASE '*) mkdir "$HERE/$name" && echo 2 > "$HERE/$name/count" && echo true > "$HERE/$name/allowed" ;;
*'RENAME TO '*) other=${statement%\"}; mv -T "$HERE/$name" "$HERE/${other##*\"}" ;;
*'ALLOW_CONNECTIONS '*) echo "${statement##* }" > "$HERE/$name/allowed" ;;
'SELECT 1 FROM pg_database '*) [ ! -e "$HERE/$name" ] || echo 1 ;;
'SELECT max('*) ls "$HERE" | grep _before_ | tail -n 1 ;;
'SELECT count('*)
  [ "$(cat "$here/allowed")" = true ] || { echo 'psql: error: it does not accept connections' >&2; exit 2; }
  cat "$here/count" ;;
esac
"""
RESTORE = 'case "$*" in *--list*) echo "215; 1259 16385 TABLE public comments api" ;; esac'
DUMP = 'for part; do case "$part" in --file=*) echo dump > "${part#--file=}" ;; esac; done'


@pytest.fixture
def server(programs: StandIns) -> Path:
    """The server's databases: ``comentarios`` has three comments."""
    for name, shell in (("psql", PSQL), ("pg_restore", RESTORE), ("pg_dump", DUMP)):
        programs.add(name, shell)
    database = programs.folder / "comentarios"
    database.mkdir()
    (database / "count").write_text("3\n")
    (database / "allowed").write_text("true\n")
    return programs.folder


def databases(server: Path) -> dict[str, tuple[str, str]]:
    """How many comments each holds, and whether connections are allowed."""
    return {
        file.parent.name.split("_before_")[0]: (file.read_text().strip(), (file.parent / "allowed").read_text().strip())
        for file in server.glob("*/count")
    }


def test_backup_and_restore(settings: Settings, server: Path, programs: StandIns) -> None:
    settings = replace(settings, database_url=URL)
    made = program.run(settings)
    assert made["comments"] == 2 and made["name"].endswith(".pgdump.gz")
    assert databases(server) == {"comentarios": ("3", "true")}
    done = program.restore(settings, "")
    assert (done["comments"], done["before"]) == (2, 3)
    assert (server / "comentarios" / "count").read_text() == "2\n"
    assert (server / done["kept"] / "count").read_text() == "3\n"
    assert not any("p%40ss" in call or "p@ss" in call for call in programs.calls)


@pytest.mark.parametrize(
    "fails",
    [
        'ALTER DATABASE "comentarios" ALLOW_CONNECTIONS false',
        "pg_terminate_backend",
        'ALTER DATABASE "comentarios" RENAME',
        f'ALTER DATABASE "{BESIDE}" RENAME',
    ],
)
def test_swap_that_fails(fails: str, settings: Settings, server: Path) -> None:
    """The old database is in its place again, whatever had been done."""
    settings = replace(settings, database_url=URL)
    program.run(settings)
    (server / "fail").write_text(fails)
    with pytest.raises(BackupError, match="psql failed: psql: error: the connection was lost"):
        program.restore(settings, "")
    assert databases(server) == {"comentarios": ("3", "true")}


@pytest.mark.parametrize(
    "at",
    ["pg_terminate_backend", 'ALTER DATABASE "comentarios" RENAME', f'ALTER DATABASE "{BESIDE}" RENAME'],
)
def test_restore_after_one_that_was_killed(
    at: str, settings: Settings, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the swap: no connection was allowed any more, or no database had the live one's name."""
    settings = replace(settings, database_url=URL)
    program.run(settings)
    run, database = Postgresql._run, Postgresql(URL)
    database.check(server / "copy")

    def killed(self: Postgresql, *command: str, tolerated: str = "", given: str = "") -> str:
        if any(at in part for part in command):
            raise KeyboardInterrupt
        return run(self, *command, tolerated=tolerated, given=given)

    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr(Postgresql, "_run", killed)
        database.swap(server / "copy", "comentarios_before_1")
    done = program.restore(settings, "")
    assert (done["comments"], done["before"]) == (2, 3)
    assert (server / "comentarios" / "count").read_text() == "2\n"
    assert (server / done["kept"] / "count").read_text() == "3\n"


def test_swap_back(server: Path) -> None:
    database = Postgresql(URL)
    database.check(server / "copy")
    assert database.swap(server / "copy", "kept")
    database.swap_back("kept")
    assert databases(server) == {"comentarios": ("3", "true"), BESIDE: ("2", "true")}
    database.forget()
    assert databases(server) == {"comentarios": ("3", "true")}


def test_another_database(server: Path, programs: StandIns) -> None:
    programs.add("pg_restore", "echo '215; 1259 16385 TABLE public users api'")
    with pytest.raises(BackupError, match="another kind of database"):
        Postgresql(URL).check(server / "copy")


@pytest.mark.parametrize(
    ("said", "fails"),
    [
        ('pg_restore: error: unrecognized configuration parameter "transaction_timeout"', False),
        ("pg_restore: error: disk full", True),
        ("", True),
    ],
)
def test_what_pg_restore_says(said: str, fails: bool, server: Path, programs: StandIns) -> None:
    """A client of version 17 sets what a server before 17 does not know: that alone is no failure."""
    programs.add("pg_restore", f"{RESTORE}\ncase \"$*\" in *--list*) ;; *) echo '{said}' >&2; exit 1 ;; esac")
    if fails:
        with pytest.raises(BackupError, match=f"pg_restore failed: {said or 'no output'}"):
            Postgresql(URL).check(server / "copy")
    else:
        assert Postgresql(URL).check(server / "copy") == 2


def test_client_that_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupError, match="psql is not installed: run `ansible-playbook site.yml --tags backup`"):
        Postgresql(URL).count()
