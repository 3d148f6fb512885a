"""Terraform and Compose on a machine without them; a local server has the downloads."""

from __future__ import annotations

import dataclasses
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

from cli import downloads
from common.errors import CommandError

PLATFORM = "linux_amd64"
Serve = Callable[[str, bytes], list[str]]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Terraform; gives the folder that is first on its PATH."""
    first = tmp_path / "first"
    first.mkdir()
    monkeypatch.setattr(downloads, "BIN", tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{first}:{tmp_path / 'bin'}")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("sys.platform", "linux")
    return first


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serves a program's file in its maker's place; gives the paths that are asked for."""
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

    def begin(name: str, content: bytes) -> list[str]:
        served.append(content)
        place(monkeypatch, name, f"http://127.0.0.1:{server.server_port}/folder")
        return asked

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield begin
        server.shutdown()


def place(monkeypatch: pytest.MonkeyPatch, name: str, source: str, content: bytes | None = None) -> None:
    """Has a program come from there; and be this content, where one is given."""
    released: downloads.Program = getattr(downloads, name)
    files = released.files
    if content is not None:
        files = {PLATFORM: (files[PLATFORM][0], hashlib.sha256(content).hexdigest())}
    monkeypatch.setattr(downloads, name, dataclasses.replace(released, source=source, files=files))


def archive(text: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as zipped:
        zipped.writestr("LICENSE.txt", "of Terraform's")
        zipped.writestr("terraform", f"#!/bin/sh\necho {text}\n")
    return made.getvalue()


def runs(*command: str) -> str:
    done = subprocess.run(command or ["terraform"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def install(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho {text}\n")
    path.chmod(0o755)
    return path


def test_fetched_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive("fetched")
    asked = serve("TERRAFORM", content)
    place(monkeypatch, "TERRAFORM", downloads.TERRAFORM.source, content)
    downloads.ensure_terraform()
    downloads.ensure_terraform()
    assert runs() == "fetched"
    assert asked == [f"/folder/terraform_{downloads.TERRAFORM.title.split()[-1]}_{PLATFORM}.zip"]


def test_compose_is_fetched_once(serve: Serve, monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    """A program that is no archive. The client has no plugin: `docker compose` fails, and so does Debian 12's own."""
    install(machine, "docker", "'compose is not a docker command' >&2; exit 1")
    install(machine, "docker-compose", "1.29.2")
    content = b"#!/bin/sh\necho fetched $*\n"
    asked = serve("COMPOSE", content)
    place(monkeypatch, "COMPOSE", downloads.COMPOSE.source, content)
    downloads.compose()
    assert runs(*downloads.compose(), "up") == "fetched up"
    assert asked == ["/folder/docker-compose-linux-x86_64"]
    install(machine, "docker", "the plugin $*")
    assert runs(*downloads.compose(), "up") == "the plugin compose up"


def test_another_compose_is_not_installed(serve: Serve, tmp_path: Path, machine: Path) -> None:
    install(machine, "docker", "no; exit 1")
    serve("COMPOSE", b"somebody else's")
    with pytest.raises(CommandError, match="has the wrong SHA-256"):
        downloads.compose()
    assert not (tmp_path / "bin").exists()


@pytest.mark.parametrize("machine_name", ["x86_64", "aarch64"])
def test_each_architecture_has_its_file(monkeypatch: pytest.MonkeyPatch, machine: Path, machine_name: str) -> None:
    install(machine, "docker", "no; exit 1")
    monkeypatch.setattr("platform.machine", lambda: machine_name)
    for name, of_it in (("TERRAFORM", downloads.MACHINES[machine_name]), ("COMPOSE", machine_name)):
        place(monkeypatch, name, "http://127.0.0.1:1")
        with pytest.raises(CommandError, match=rf"http://127\.0\.0\.1:1/\S*linux.{of_it}\S* cannot be downloaded"):
            downloads.ensure_terraform() if name == "TERRAFORM" else downloads.compose()


def test_another_archive_is_not_installed(serve: Serve, tmp_path: Path) -> None:
    serve("TERRAFORM", archive("somebody else's"))
    with pytest.raises(CommandError, match=r"has the wrong SHA-256 \([0-9a-f]{64}\) and was not installed"):
        downloads.ensure_terraform()
    assert list((tmp_path / "bin").iterdir()) == []


def test_nowhere_to_fetch_it_from(monkeypatch: pytest.MonkeyPatch) -> None:
    place(monkeypatch, "TERRAFORM", "http://127.0.0.1:1")
    with pytest.raises(
        CommandError, match=r"cannot be downloaded .*refused.*: install Terraform 1\.10 or later"
    ) as refused:
        downloads.ensure_terraform()
    assert "\n" not in str(refused.value)


def test_platform_that_is_not_built_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(CommandError, match="there is no download for linux_riscv64"):
        downloads.ensure_terraform()


def test_opentofu_in_its_place(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tofu = install(machine, "tofu", "opentofu")
    downloads.ensure_terraform()
    assert runs() == "opentofu"
    # It was removed since: what is left is a link to nothing.
    tofu.rename(machine / "away")
    place(monkeypatch, "TERRAFORM", "http://127.0.0.1:1")
    with pytest.raises(CommandError, match="cannot be downloaded"):
        downloads.ensure_terraform()


def test_the_machines_own_comes_first(machine: Path) -> None:
    install(machine, "tofu", "opentofu")
    downloads.ensure_terraform()
    install(machine, "terraform", "terraform")
    downloads.ensure_terraform()
    assert os.environ["PATH"].startswith(str(machine)) and runs() == "terraform"


def test_download_that_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"the first bytes")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        place(monkeypatch, "TERRAFORM", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(CommandError, match=r"cannot be downloaded \(IncompleteRead.*\): install Terraform"):
            downloads.ensure_terraform()
