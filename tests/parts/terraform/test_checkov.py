"""checkov's rules over every .tf file."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.parts.terraform.emulator import ROOT
from verbs.venv import environment

LOCK = ROOT / "requirements" / "checkov.txt"


@pytest.fixture(scope="module")
def checkov() -> Path:
    """checkov in a virtual environment of its own, remade when its lock changes: its pins conflict with the rest."""
    folder = ROOT / ".venv" / "checkov"
    stamp = folder / "lock"
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        uv = [ROOT / ".venv" / "bin" / "uv", "pip", "install", "--quiet", "--require-hashes"]
        subprocess.run([*uv, "--python", folder / "bin" / "python", "-r", LOCK], env=environment(), check=True)
        stamp.write_text(wanted)
    return folder / "bin" / "checkov"


def test_nothing_is_found(checkov: Path) -> None:
    done = subprocess.run(
        [checkov, "--directory", ROOT / "terraform", "--framework", "terraform", "--skip-download", "--output", "json"],
        env=os.environ | {"LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 150, "checkov did not look at the folder"
    found = [f"{check['check_id']} {check['resource']}" for check in report["results"]["failed_checks"]]
    assert found == []


def test_every_skip_has_its_reason() -> None:
    lines = [
        line.strip()
        for path in (ROOT / "terraform").rglob("*.tf")
        for line in path.read_text().splitlines()
        if "checkov:skip" in line
    ]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"#checkov:skip=CKV2?_AWS_\d+:\w.{15,}", line)] == []
