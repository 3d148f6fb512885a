"""Grafana's own published kinds take the dashboards: version 12's strictly, version 9's where it reads them."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from common import apt
from common.paths import STATE
from roles.grafana.dashboards import OUTPUT

SOURCE = Path(__file__).parent / "schema"
BOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(OUTPUT.glob("*.json"))}
VERSIONS = ("grafana12", "grafana9")
# The path to a value in a panel of each kind, and what may not stand there.
MISTAKES: list[tuple[str, tuple[str, ...], object]] = [
    ("timeseries", ("options", "legend", "placement"), "left"),
    ("timeseries", ("options", "tooltip", "mode"), "all"),
    ("timeseries", ("fieldConfig", "defaults", "custom", "lineWidth"), "1"),
    ("timeseries", ("fieldConfig", "defaults", "thresholds", "mode"), "percent"),
    ("timeseries", ("gridPos", "w"), "12"),
    ("stat", ("options", "colorMode"), "text"),
    ("stat", ("options", "reduceOptions", "calcs"), "lastNotNull"),
    ("stat", ("fieldConfig", "defaults", "unit"), 5),
    ("text", ("options", "mode"), "asciidoc"),
    ("row", ("collapsed",), "no"),
]
UNKNOWN = [("timeseries", ("options", "legend", "palcement"), "right"), ("stat", ("targets",), [{"expression": "up"}])]


@pytest.fixture(scope="module")
def kinds() -> Path:
    """A folder with TypeScript and the kinds, by the lock file's hashes; kept for the next run."""
    if not shutil.which("npm"):
        apt.install("nodejs", "npm")
    digest = hashlib.sha256(b"".join((SOURCE / name).read_bytes() for name in ("package-lock.json", ".npmrc")))
    folder = STATE / "schema" / digest.hexdigest()[:16]
    if not folder.exists():
        making = folder.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        shutil.copytree(SOURCE, making)
        done = subprocess.run(["npm", "ci"], cwd=making, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        making.rename(folder)
    return folder


def compiled(kinds: Path, folder: Path, version: str, boards: dict[str, dict[str, Any]]) -> list[str]:
    """What the compiler says of the dashboards and their panels, as constants of the kinds' types."""
    (folder / "node_modules").symlink_to(kinds / "node_modules")
    for source in SOURCE.glob("*.ts"):
        shutil.copy(source, folder)
    names = sorted({panel["type"] for board in boards.values() for panel in board["panels"]} | {"Dashboard"})
    lines = [f"import type {{ {', '.join(names)} }} from './{version}';"]
    for uid, board in boards.items():
        frame = {key: value for key, value in board.items() if key != "panels"}
        # Version 9's kinds are for reading, where unknown fields do not count: no literal, but a value of its own type.
        for kind, name, value in [("Dashboard", uid, frame)] + [
            (panel["type"], f"{uid}_{panel['id']}", panel) for panel in board["panels"]
        ]:
            text = json.dumps(value)
            if version == "grafana12":
                lines.append(f"export const {name}: {kind} = {text};")
            else:
                lines.append(f"const {name}_given = {text} as const;\nexport const {name}: {kind} = {name}_given;")
    (folder / "boards.ts").write_text("\n".join(lines) + "\n")
    tsc = [
        *("node", "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--pretty", "false"),
        *("--preserveSymlinks", "--module", "esnext", "--moduleResolution", "bundler", "boards.ts"),
    ]
    done = subprocess.run(tsc, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout.splitlines()


@pytest.mark.parametrize("version", VERSIONS)
def test_kinds_take_the_dashboards(kinds: Path, tmp_path: Path, version: str) -> None:
    found = compiled(kinds, tmp_path, version, BOARDS)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_mistake_is_found(kinds: Path, tmp_path: Path, version: str) -> None:
    """One compiler run: each mistake in a dashboard of its own, and an error in the lines of each."""
    mistakes = MISTAKES + (UNKNOWN if version == "grafana12" else [])
    boards = {}
    for number, (kind, path, value) in enumerate(mistakes):
        panels = BOARDS["api"]["panels"]
        panel = copy.deepcopy(next(one for one in panels if one["type"] == kind))
        place = panel
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        boards[f"mistake{number}"] = {**BOARDS["api"], "panels": [panel]}
    found = compiled(kinds, tmp_path, version, boards)
    lines = (tmp_path / "boards.ts").read_text().splitlines()
    errors = (re.match(r"boards\.ts\((\d+),", line) for line in found)
    wrong = {lines[int(error[1]) - 1].split(":")[0].removeprefix("export const ") for error in errors if error}
    assert wrong == {f"{uid}_{board['panels'][0]['id']}" for uid, board in boards.items()}
