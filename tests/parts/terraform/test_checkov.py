"""checkov's rules over every .tf file."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from tests.parts.terraform.emulator import ENVIRONMENT, ROOT


def test_nothing_is_found(checkov: Path) -> None:
    done = subprocess.run(
        [checkov, "--directory", ROOT / "terraform", "--framework", "terraform", "--skip-download", "--output", "json"],
        env=ENVIRONMENT | {"LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 100, "checkov did not look at the folder"
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
