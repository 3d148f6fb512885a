"""Grafana's published types accept the dashboards: version 12's strictly, version 9's for the fields that it reads."""

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
# The names of the mistakes' panels, and what the compiler says, by name.
Complaints = tuple[set[str], dict[str, list[str]]]
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


def mistaken(version: str) -> dict[str, dict[str, Any]]:
    """A dashboard for each mistake that a version finds, with one panel."""
    boards = {}
    for number, (kind, path, value) in enumerate(MISTAKES + (UNKNOWN if version == "grafana12" else [])):
        panel = copy.deepcopy(next(one for one in BOARDS["api"]["panels"] if one["type"] == kind))
        place = panel
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        boards[f"mistake{number}"] = {**BOARDS["api"], "panels": [panel]}
    return boards


def source(version: str, boards: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Constants of the kinds' types, a line each: the dashboards without their panels, and the panels."""
    lines = {}
    for uid, board in boards.items():
        frame = {key: value for key, value in board.items() if key != "panels"}
        # Version 9's kinds are for reading, where unknown fields do not count: no literal, but a value of its own type.
        for kind, name, value in [("Dashboard", uid, frame)] + [
            (panel["type"], f"{uid}_{panel['id']}", panel) for panel in board["panels"]
        ]:
            text = json.dumps(value)
            if version == "grafana12":
                lines[name] = f"export const {name}: {kind} = {text};"
            else:
                lines[name] = f"const {name}_given = {text} as const; export const {name}: {kind} = {name}_given;"
    return lines


@pytest.fixture(scope="module", params=VERSIONS)
def complaints(request: pytest.FixtureRequest, kinds: Path, tmp_path_factory: pytest.TempPathFactory) -> Complaints:
    """The compiler's complaints by constant, of the dashboards and of the mistakes in one run; "" is none of them."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "node_modules").symlink_to(kinds / "node_modules")
    for file in SOURCE.glob("*.ts"):
        shutil.copy(file, folder)
    wrong = mistaken(request.param)
    lines = source(request.param, BOARDS | wrong)
    names = sorted({panel["type"] for board in BOARDS.values() for panel in board["panels"]} | {"Dashboard"})
    imports = f"import type {{ {', '.join(names)} }} from './{request.param}';"
    (folder / "boards.ts").write_text("\n".join([imports, *lines.values()]) + "\n")
    tsc = [
        *("node", "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck", "--pretty", "false"),
        *("--preserveSymlinks", "--module", "esnext", "--moduleResolution", "bundler", "boards.ts"),
    ]
    done = subprocess.run(tsc, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    found: dict[str, list[str]] = {}
    # What belongs to the line before is indented.
    for line in filter(None, re.split(r"\n(?! )", done.stdout.strip())):
        place = re.match(r"boards\.ts\((\d+),", line)
        found.setdefault(["", "", *lines][int(place[1])] if place else "", []).append(line)
    return {f"{uid}_{board['panels'][0]['id']}" for uid, board in wrong.items()}, found


def test_kinds_take_the_dashboards(complaints: Complaints) -> None:
    wrong, found = complaints
    assert not {name: said for name, said in found.items() if name not in wrong}


def test_each_mistake_is_found(complaints: Complaints) -> None:
    wrong, found = complaints
    assert wrong <= set(found)
