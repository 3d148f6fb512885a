"""Files that are whole at any moment, and configurations as sets of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from comentarios_release import files

FILES = {
    "docker-compose.yml": "services",
    ".env": "API_IMAGE=a:1",
    "prometheus/rules/slo.yml": "rules",
    "alertmanager/alertmanager.yml": "routes",
    "grafana/dashboards/api.json": "{}",
}
SECRETS = {"alertmanager/secrets/token": "rotated", "grafana/secrets/admin_password": "rotated"}
OTHERS = {"haproxy/live.cfg": "release-1", "releases/1/release.json": "{}", "notes.txt": ""}


def made(root: Path, contents: dict[str, str]) -> Path:
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def contents(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_listing_is_the_configuration_without_secrets_and_what_is_no_part_of_it(folder: Path) -> None:
    root = made(folder, FILES | SECRETS | OTHERS)
    assert files.listing(root) == {name: root / name for name in FILES}
    assert files.listing(folder / "nothing") == {}


def test_differing(folder: Path) -> None:
    one = files.listing(made(folder / "one", FILES | {"prometheus/old.yml": ""}))
    other = files.listing(made(folder / "other", FILES | {".env": "API_IMAGE=a:2", "prometheus/new.yml": ""}))
    assert files.differing(one, one) == set()
    assert files.differing(one, other) == {".env", "prometheus/old.yml", "prometheus/new.yml"}


def test_placed_it_is_the_wanted_one_secrets_and_others_aside(folder: Path) -> None:
    wanted = made(folder / "wanted", FILES | {"alertmanager/secrets/token": "revoked"})
    here = {"prometheus/rules/slo.yml": "old", "prometheus/rules/gone.yml": "", ".env": "API_IMAGE=a:1"}
    stack = made(folder / "stack", here | SECRETS | OTHERS)
    changed = files.place(wanted, stack)
    assert changed == FILES.keys() - {".env"} | {"prometheus/rules/gone.yml"}
    assert contents(stack) == FILES | SECRETS | OTHERS
    assert files.place(wanted, stack) == set()


def test_files_come_with_mode_owner_and_time(folder: Path) -> None:
    source = made(folder, {"source": "text"}) / "source"
    source.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(source, 65534, 65534)
    files.copy(source, folder / "a" / "target")
    before, after = source.stat(), (folder / "a" / "target").stat()
    assert [after.st_mode, after.st_uid, after.st_gid, int(after.st_mtime)] == [
        before.st_mode,
        before.st_uid,
        before.st_gid,
        int(before.st_mtime),
    ]


def test_write_has_its_mode_whatever_the_umask(folder: Path) -> None:
    umask = os.umask(0o077)
    try:
        files.write(folder / "public", "text")
        files.write_json(folder / "a" / "private.json", {"b": 1, "a": None})
    finally:
        os.umask(umask)
    assert (folder / "public").stat().st_mode & 0o777 == 0o644
    assert (folder / "a/private.json").stat().st_mode & 0o777 == 0o600
    assert (folder / "a/private.json").read_text() == '{\n  "a": null,\n  "b": 1\n}\n'
    assert files.read_json(folder / "a/private.json") == {"a": None, "b": 1}
    assert files.read_json(folder / "nothing.json") is None


def test_what_does_not_end_well_leaves_the_old_file_and_nothing_else(folder: Path) -> None:
    files.write(folder / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        files.write(folder / "file", "half \ud800")
    with pytest.raises(FileNotFoundError):
        files.copy(folder / "nothing", folder / "file")
    assert contents(folder) == {"file": "old"}


def test_what_a_killed_run_left_is_overwritten(folder: Path) -> None:
    made(folder, {".file.new": "half of a very long text"})
    files.write(folder / "file", "new")
    assert contents(folder) == {"file": "new"}


def test_variables(folder: Path) -> None:
    made(folder, {".env": "# A=comment\nAPI_IMAGE=a:1\n\nEMPTY=\nURL=postgres://a?b=c\nnonsense\n"})
    assert files.variables(folder / ".env") == {"API_IMAGE": "a:1", "EMPTY": "", "URL": "postgres://a?b=c"}
