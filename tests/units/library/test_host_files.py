"""Units in `host_files`, with a fake systemctl that keeps their states in a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from library import host_files

# `show` prints a unit's states as systemd does; whatever else is asked is written down.
SYSTEMCTL = """\
#!/bin/sh
case $1 in
show)
    shift 2
    for unit; do
        cat "$STATES/$unit" 2>/dev/null || printf 'ActiveState=inactive\\nUnitFileState=\\n'
        echo
    done
    ;;
*)
    [ "$2" != broken.service ] && [ "$3" != broken.service ] || { echo 'Unit broken.service not found.' >&2; exit 1; }
    echo "$*" >>"$STATES/asked"
    ;;
esac
"""
RUNS, STOPPED = "ActiveState=active\nUnitFileState=enabled\n", "ActiveState=inactive\nUnitFileState=disabled\n"


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the states of the units."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("STATES", str(tmp_path))
    monkeypatch.setattr(host_files, "UNITS", f"{tmp_path}/units/")
    monkeypatch.setattr(host_files, "UNREAD", f"{tmp_path}/unread")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *, check: bool = False, **given: Any) -> dict[str, Any]:
    with patch_module_args({**given, "_ansible_check_mode": check}), pytest.raises(SystemExit):
        host_files.main()
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def asked(states: Path) -> list[str]:
    try:
        return (states / "asked").read_text().splitlines()
    except FileNotFoundError:
        return []


@pytest.mark.parametrize(
    ("state", "wanted", "command"),
    [
        (RUNS, "started", None),
        (RUNS, "enabled", None),
        (RUNS, "stopped", "disable --now one.timer"),
        (STOPPED, "started", "enable --now one.timer"),
        (STOPPED, "enabled", "enable one.timer"),
        (STOPPED, "stopped", None),
        (None, "started", "enable --now one.timer"),
        (None, "stopped", None),
        ("ActiveState=active\nUnitFileState=disabled\n", "started", "enable --now one.timer"),
        ("ActiveState=active\nUnitFileState=disabled\n", "stopped", "disable --now one.timer"),
        ("ActiveState=inactive\nUnitFileState=enabled\n", "started", "enable --now one.timer"),
        ("ActiveState=activating\nUnitFileState=enabled-runtime\n", "enabled", "enable one.timer"),
    ],
)
def test_only_what_differs(
    states: Path, capsys: pytest.CaptureFixture[str], state: str | None, wanted: str, command: str | None
) -> None:
    if state:
        (states / "one.timer").write_text(state)
    units = {"one.timer": wanted}
    assert run(capsys, check=True, units=units)["changed"] is bool(command)
    assert asked(states) == []
    told = run(capsys, units=units)
    assert told["changed"] is bool(command) and told["written"] == (["one.timer"] if command else [])
    assert asked(states) == ([command] if command else [])


def test_systemd_reads_a_new_unit_before_it_starts(states: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A removed unit is stopped while its file still exists."""
    old = states / "units" / "old.timer"
    old.parent.mkdir()
    old.write_text("[Timer]\n")
    (states / "old.timer").write_text(RUNS)
    made = {"content": "[Timer]\n", "owner": str(os.getuid()), "group": str(os.getgid())}
    given = {
        "files": {str(states / "units" / "new.timer"): made},
        "absent": [str(old)],
        "units": {"new.timer": "started", "old.timer": "stopped"},
    }
    assert run(capsys, **given)["changed"] is True
    assert asked(states) == ["disable --now old.timer", "daemon-reload", "enable --now new.timer"]
    assert not old.exists()


def test_one_line_of_a_unit_that_does_not_start(states: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, units={"broken.service": "started"})
    assert told["failed"] is True
    assert told["msg"] == "systemctl enable --now broken.service: Unit broken.service not found."


def test_changed_file_is_read_by_its_program(states: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the same task: a handler would be lost with a play that fails before its end."""
    made = {"content": "then", "owner": str(os.getuid()), "group": str(os.getgid())}
    given = {
        "files": {
            str(states / "one"): made | {"then": "systemctl reload one.service"},
            str(states / "two"): made,
        },
        "units": {"one.service": "started"},
    }
    assert run(capsys, check=True, **given)["changed"] is True
    assert asked(states) == []
    assert run(capsys, **given)["changed"] is True
    assert asked(states) == ["enable --now one.service", "reload one.service"]
    (states / "one.service").write_text(RUNS)
    assert run(capsys, **given)["changed"] is False
    assert len(asked(states)) == 2


def test_files_of_one_program_are_read_once(states: Path, capsys: pytest.CaptureFixture[str]) -> None:
    owned = {"owner": str(os.getuid()), "group": str(os.getgid())}
    reloaded = owned | {"content": "new", "then": "systemctl reload one.service"}
    files = {str(states / "one"): reloaded, str(states / "two"): reloaded}
    assert run(capsys, files=files, units={"one.service": "started"})["changed"] is True
    assert asked(states) == ["enable --now one.service", "reload one.service"]


def test_one_line_of_a_program_that_does_not_read_its_file(states: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = {"content": "", "owner": str(os.getuid()), "group": str(os.getgid())}
    told = run(capsys, files={str(states / "one"): made | {"then": "systemctl reload broken.service"}})
    assert told["failed"] is True
    assert told["msg"] == "systemctl reload broken.service: Unit broken.service not found."


def test_file_that_is_not_valid_changes_nothing(states: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not the files before it either: the next run would find them unchanged, and their programs not run."""
    made = {"content": "new", "owner": str(os.getuid()), "group": str(os.getgid())}
    files = {
        str(states / "one"): made | {"then": "systemctl reload one.service"},
        str(states / "two"): made | {"validate": "sh -c 'echo no good >&2; exit 1' - %s"},
    }
    given = {"files": files, "units": {"one.service": "started"}}
    told = run(capsys, **given)
    assert told["failed"] is True and told["msg"] == f"{states / 'two'} is not valid: no good"
    assert not (states / "one").exists() and asked(states) == []
    files[str(states / "two")]["validate"] = "grep -qx new %s"
    assert run(capsys, **given)["changed"] is True
    assert asked(states) == ["enable --now one.service", "reload one.service"]


def test_interrupted_run_is_carried_on(states: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The next run finds the files as it wants them, and has them read nevertheless, once."""
    made = {"content": "then", "owner": str(os.getuid()), "group": str(os.getgid())}
    files = {
        str(states / "one"): made | {"then": "systemctl reload one.service"},
        str(states / "units" / "one.timer"): made,
    }
    # Another task's files do not wait for this one's.
    other = {str(states / "other"): made | {"then": "systemctl reload other.service"}}
    assert run(capsys, files=files, units={"broken.service": "started"})["failed"] is True
    assert run(capsys, files=other)["written"] == [str(states / "other")]
    (states / "asked").unlink()
    assert run(capsys, check=True, files=files)["changed"] is True
    assert asked(states) == []
    assert run(capsys, files=files)["written"] == sorted(files)
    assert asked(states) == ["daemon-reload", "reload one.service"]
    assert run(capsys, files=files)["changed"] is False
    assert not (states / "unread").exists()


def test_removed_unit_is_forgotten_by_the_next_run(states: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = states / "units" / "old.timer"
    old.parent.mkdir()
    old.write_text("[Timer]\n")
    assert run(capsys, absent=[str(old)], units={"broken.service": "started"})["failed"] is True
    (states / "asked").unlink()
    assert run(capsys, absent=[str(old)])["changed"] is True
    assert asked(states) == ["daemon-reload"]
    assert run(capsys, absent=[str(old)])["changed"] is False
