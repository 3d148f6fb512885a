"""The program that gives the edge a new certificate: whatever fails, the edge reads a whole one in the end."""

from __future__ import annotations

import subprocess
from pathlib import Path

import jinja2
import pytest

from tests.support.haproxy import STACK
from tests.support.stand_ins import StandIns

DOMAIN = "comments.example.com"
RELOAD = 'ls "$HERE/../edge/certificates" >"$HERE/seen"'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What certbot keeps, and the edge's folder with the certificate of another domain."""
    for name in ("live", "edge/certificates"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "live" / "fullchain.pem").write_text("chain\n")
    (tmp_path / "live" / "privkey.pem").write_text("key\n")
    (tmp_path / "edge/certificates/old.example.com.pem").write_text("old\n")
    return tmp_path


@pytest.fixture
def programs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    made = StandIns(folder / "programs", monkeypatch)
    made.add("chown")
    made.add("comentarios-release", RELOAD)
    text = (STACK / "templates/host/comentarios-deploy-certificate.j2").read_text()
    given = {"stack_domain": DOMAIN, "_stack_edge_dir": folder / "edge", "_stack_edge_uid": 10003}
    text = jinja2.Template(text, undefined=jinja2.StrictUndefined).render(given | {"ansible_managed": ""})
    (folder / "deploy").write_text(text.replace(f"/etc/letsencrypt/live/{DOMAIN}", str(folder / "live")))
    return made


def deploy(folder: Path) -> int:
    return subprocess.run(["sh", folder / "deploy"], capture_output=True, check=False).returncode


def edge_has(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "edge/certificates").iterdir()}


def test_new_certificate(folder: Path, programs: StandIns) -> None:
    """The edge reads it once, and finds nothing else as it reads; not a key that is just being written either."""
    assert deploy(folder) == deploy(folder) == 0
    assert edge_has(folder) == {f"{DOMAIN}.pem": "chain\nkey\n"}
    assert [call for call in programs.calls if "release" in call] == ["comentarios-release reload"]
    assert (programs.folder / "seen").read_text().split() == [f"{DOMAIN}.pem"]


def test_edge_that_does_not_answer_reads_it_the_next_time(folder: Path, programs: StandIns) -> None:
    programs.add("comentarios-release", "exit 1")
    assert deploy(folder) != 0
    programs.add("comentarios-release", RELOAD)
    assert deploy(folder) == 0 and (programs.folder / "seen").exists()
    assert edge_has(folder) == {f"{DOMAIN}.pem": "chain\nkey\n"}


def test_run_that_ends_in_its_middle(folder: Path, programs: StandIns) -> None:
    """An edge that starts then finds only what it can read."""
    programs.add("cmp", 'ls "$HERE/../edge/certificates" >"$HERE/seen"; kill -9 $PPID')
    assert deploy(folder) != 0
    assert (programs.folder / "seen").read_text().split() == ["old.example.com.pem"]
