"""Where `terraform` comes from on a machine that has none: OpenTofu, or an archive from a server on this machine."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli import program
from common.errors import CommandError

PLATFORM = "linux_amd64"
Serve = Callable[[bytes], list[str]]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Terraform; gives the folder that is first on its PATH."""
    first = tmp_path / "first"
    first.mkdir()
    monkeypatch.setattr(program, "BIN", tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{first}:{tmp_path / 'bin'}")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("sys.platform", "linux")
    return first


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serves an archive in HashiCorp's place; gives the paths that are asked for."""
    asked: list[str] = []
    served: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(served[-1])

        def log_message(self, format: str, *args: object) -> None:
            pass

    def begin(archive: bytes) -> list[str]:
        served.append(archive)
        return asked

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setattr(program, "SOURCE", f"http://127.0.0.1:{server.server_port}/terraform")
        yield begin
        server.shutdown()


def archive(text: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        zipped.writestr("LICENSE.txt", "of Terraform's")
        zipped.writestr("terraform", f"#!/bin/sh\necho {text}\n")
    return made.getvalue()


def runs() -> str:
    done = subprocess.run(["terraform"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def install(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {text}\n")
    path.chmod(0o755)
    return path


def test_fetched_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive("fetched")
    asked = serve(content)
    monkeypatch.setitem(program.ARCHIVES, PLATFORM, hashlib.sha256(content).hexdigest())
    program.ensure()
    program.ensure()
    assert runs() == "fetched"
    assert asked == [f"/terraform/{program.VERSION}/terraform_{program.VERSION}_{PLATFORM}.zip"]


def test_another_archive_is_not_installed(serve: Serve, tmp_path: Path) -> None:
    serve(archive("somebody else's"))
    with pytest.raises(CommandError, match=r"has the wrong SHA-256 \([0-9a-f]{64}\) and was not installed"):
        program.ensure()
    assert list((tmp_path / "bin").iterdir()) == []


def test_nowhere_to_fetch_it_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "SOURCE", "http://127.0.0.1:1/terraform")
    with pytest.raises(
        CommandError, match=r"cannot be downloaded .*refused.*: install Terraform 1\.10 or later"
    ) as refused:
        program.ensure()
    assert "\n" not in str(refused.value)


def test_platform_that_is_not_built_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(CommandError, match="there is no download for linux_riscv64"):
        program.ensure()


def test_opentofu_in_its_place(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tofu = install(machine, "tofu", "opentofu")
    program.ensure()
    assert runs() == "opentofu"
    # It was removed since: what is left is a link to nothing.
    tofu.rename(machine / "away")
    monkeypatch.setattr(program, "SOURCE", "http://127.0.0.1:1/terraform")
    with pytest.raises(CommandError, match="cannot be downloaded"):
        program.ensure()


def test_the_machines_own_comes_first(machine: Path) -> None:
    install(machine, "tofu", "opentofu")
    program.ensure()
    install(machine, "terraform", "terraform")
    program.ensure()
    assert os.environ["PATH"].startswith(str(machine)) and runs() == "terraform"
