"""The systemd units, as systemd reads them with role base's drop-in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import jinja2
import pytest

from common.paths import ROOT

UNITS = {path.name.removesuffix(".j2"): path for path in ROOT.glob("roles/*/*/**/*.service*")}
# What the templates want to know: all of it paths and names, of no matter here.
VARIABLES = {
    "ansible_managed": "",
    "_stack_acme_address": "172.17.0.1:8089",
    "_stack_edge_dir": "/var/lib/comentarios-edge",
    "stack_acme_directory": "https://acme.example.com/directory",
    "stack_acme_root": "",
    "stack_domain": "example.com",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system with every unit and what role base adds."""
    folder = tmp_path / "etc/systemd/system"
    added = folder / "comentarios-.service.d"
    added.mkdir(parents=True)
    shutil.copy(ROOT / "roles/base/files/hardening.conf", added)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"dirname": os.path.dirname, "split": str.split}
    for name, source in UNITS.items():
        (folder / name).write_text(environment.from_string(source.read_text()).render(VARIABLES))
    return tmp_path


def test_they_are_all_found() -> None:
    assert {"comentarios-backup.service", "comentarios-heal.service", "comentarios-release.service"} < UNITS.keys()
    assert all(name.startswith("comentarios-") for name in UNITS)


@pytest.mark.parametrize("name", sorted(UNITS))
def test_exposure(name: str, root: Path) -> None:
    """At most 4.0 of 10 (8.7 to 9.6 without), and nothing that systemd does not know."""
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", f"--root={root}", "--threshold=40", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Unknown" not in done.stderr and "ignoring" not in done.stderr
    found = re.search(r"Overall exposure level for \S+: (\S+)", done.stdout)
    assert found and float(found[1]) <= 4.0


@pytest.mark.parametrize("name", sorted(UNITS))
def test_time_is_bounded(name: str, root: Path) -> None:
    """A oneshot may take for ever by default, and what stays may hang. A release has bounds of its own at each step."""
    text = (root / "etc/systemd/system" / name).read_text()
    bound = "TimeoutStartSec" if "\nType=oneshot\n" in text else "WatchdogSec"
    assert re.search(rf"^{bound}=\S+$", text, re.MULTILINE) or name == "comentarios-release.service"


@pytest.mark.parametrize(
    "unit",
    sorted({path.name.partition(".")[0] for path in ROOT.glob("roles/*/*/**/comentarios-*.timer*")})
    + ["comentarios-heal"],
)
def test_what_can_wait_waits_for_the_api(unit: str, root: Path) -> None:
    """Its share of the CPU is role base's slice."""
    text = (root / "etc/systemd/system" / f"{unit}.service").read_text()
    assert re.search(r"^Slice=comentarios\.slice$", text, re.MULTILINE)
    assert (ROOT / "roles/base/files/comentarios.slice").is_file()
