"""Atomic files, and configurations as sets of files."""

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
OTHERS = {"haproxy/live.cfg": "release-1", "releases/1/release.json": "{}", "notes.txt": "", "grafana/.a.new": "half"}


def made(root: Path, contents: dict[str, str]) -> Path:
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def contents(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_listing_is_the_configuration_without_what_is_no_part_of_it(folder: Path) -> None:
    root = made(folder, FILES | SECRETS | OTHERS)
    assert files.listing(root) == {name: root / name for name in FILES | SECRETS}
    assert files.listing(root, secrets=False) == {name: root / name for name in FILES}
    assert files.listing(folder / "nothing") == {}


def test_what_is_not_staged_stays(folder: Path) -> None:
    before = files.listing(made(folder / "before", FILES | {"prometheus/prometheus.yml": "old"}))
    staged = files.listing(made(folder / "staged", {"prometheus/rules/new.yml": "", ".env": "A=b"}))
    found = files.merged(staged, before)
    assert found.keys() == FILES.keys() - {"prometheus/rules/slo.yml"} | {"prometheus/rules/new.yml"}
    assert found[".env"] == staged[".env"] and found["docker-compose.yml"] == before["docker-compose.yml"]


def test_secret_that_is_not_wanted_is_no_difference(folder: Path) -> None:
    wanted = files.listing(made(folder / "wanted", FILES | {"alertmanager/secrets/token": "another"}))
    live = files.listing(made(folder / "live", FILES | SECRETS))
    assert files.changes(wanted, live) == {"alertmanager/secrets/token"}
    assert files.changes(files.listing(folder / "wanted", secrets=False), live) == set()


def test_differing(folder: Path) -> None:
    one = files.listing(made(folder / "one", FILES | {"prometheus/old.yml": ""}))
    other = files.listing(made(folder / "other", FILES | {".env": "API_IMAGE=a:2", "prometheus/new.yml": ""}))
    assert files.differing(one, one) == set()
    assert files.differing(one, other) == {".env", "prometheus/old.yml", "prometheus/new.yml"}


def test_placed_it_is_the_wanted_one_and_others_stay(folder: Path) -> None:
    wanted = made(folder / "wanted", FILES | {"alertmanager/secrets/token": "new"})
    here = {"prometheus/rules/slo.yml": "old", "prometheus/rules/gone.yml": "", ".env": "API_IMAGE=a:1"}
    stack = made(folder / "stack", here | SECRETS | OTHERS)
    for _ in range(2):
        files.place(wanted, stack)
        assert contents(stack) == FILES | SECRETS | OTHERS | {"alertmanager/secrets/token": "new"}


def test_folder_that_is_made_is_as_the_one_it_comes_from(folder: Path) -> None:
    wanted = made(folder / "wanted", {"alertmanager/secrets/token": "new"})
    (wanted / "alertmanager/secrets").chmod(0o750)
    (folder / "stack").mkdir()
    files.place(wanted, folder / "stack")
    assert (folder / "stack/alertmanager/secrets").stat().st_mode & 0o777 == 0o750


def test_secrets_end(folder: Path) -> None:
    stack = made(
        folder, SECRETS | {"grafana/grafana.ini": "secrets/admin_password", "secrets/url": "", ".env": "token"}
    )
    files.retire_secrets(stack)
    assert set(contents(stack)) == {"grafana/grafana.ini", "grafana/secrets/admin_password", "secrets/url", ".env"}
    files.forget_secrets(stack)
    assert set(contents(stack)) == {"grafana/grafana.ini", ".env"}


def test_live_database_url_stays_though_no_release_names_it(folder: Path) -> None:
    """A container could not be started again without it."""
    name, url = "docker-compose.override.yml", "secrets/database_url-{}"
    stack = made(folder / "stack", {name: url.format(1), **{url.format(number): "url" for number in (1, 2, 3)}})
    releases = made(folder / "releases", {f"7/config/{name}": url.format(2)})
    files.retire_databases(stack, releases)
    assert set(contents(stack)) == {name, url.format(1), url.format(2)}


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


def test_content_is_on_the_disk_before_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power cut, an interrupted release carries on with these files: copies count, too."""
    synchronised: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synchronised.append(os.fstat(file).st_ino))
    files.write(folder / "one", "text")
    files.copy(folder / "one", folder / "two")
    assert synchronised == [(folder / name).stat().st_ino for name in ("one", "two")]


def test_what_a_killed_run_left_is_overwritten(folder: Path) -> None:
    made(folder, {".file.new": "half of a very long text"})
    files.write(folder / "file", "new")
    assert contents(folder) == {"file": "new"}


def test_variables_are_taken_out(folder: Path) -> None:
    made(folder, {".env": "# A=comment\nAPI_IMAGE=a:1\n\nURL=postgres://a?b=c\nAPI_RELEASE=1"})
    assert files.without(folder / ".env", "API_IMAGE", "API_RELEASE") == "# A=comment\n\nURL=postgres://a?b=c\n"
