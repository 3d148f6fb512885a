"""A full cycle with `./tools`: Docker and basic shell programs only.

Where Terraform's own release or its registry cannot be reached, this machine's stand in for what would be fetched.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from cli.targets import provider_mirror
from common import images
from common.config import Config
from common.paths import ROOT
from tests.support.site import environment
from tests.support.waiting import eventually

SITE = {
    "SANDBOX_NAME": "comentarios-by-tools",
    "SANDBOX_SUBNET": "10.96.0.0/24",
    "SANDBOX_REGISTRY_PORT": "4580",
    "EDGE_PORT": "8098",
    "PROMETHEUS_PORT": "9198",
    "ALERTMANAGER_PORT": "9199",
    # The clone's own, in the tools' volume.
    "SANDBOX_STATE": "",
}
PROGRAMS = ("docker", "cksum", "cut", "dirname", "env", "mkdir", "rmdir", "sed", "xargs")
PERSON = 1234
WORDS = "written by way of ./tools"


class Tools:
    """`./tools` of a clone."""

    def __init__(self, clone: Path, programs: Path) -> None:
        programs.mkdir()
        for name in PROGRAMS:
            (programs / name).symlink_to(str(shutil.which(name)))
        kept = {
            name: value for name, value in environment(SITE).items() if name in {*SITE, "PIP_CERT", "PIP_INDEX_URL"}
        }
        self.environment = {**kept, "PATH": str(programs), "BASE_IMAGE": images.base(Config().state)}
        self.clone = clone

    def __call__(self, *command: str, expected: int = 0) -> str:
        """Runs a command; what it printed."""
        line: list[str | Path] = [self.clone / "tools", *command]
        done = subprocess.run(line, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == expected, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def give(self, *paths: Path) -> None:
        """Copies this machine's files to the same places in the container."""
        with subprocess.Popen(["tar", "--create", "--dereference", *paths], stdout=subprocess.PIPE) as archive:
            command: list[str | Path] = [self.clone / "tools", "tar", "--extract", "--directory", "/"]
            subprocess.run(command, env=self.environment, stdin=archive.stdout, check=True)


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    """In a clone of a person's who is not root."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    subprocess.run(["chown", "--recursive", f"{PERSON}:{PERSON}", clone], check=True)
    return Tools(clone, tmp_path / "programs")


def api(path: str, body: dict[str, object] | None = None) -> str:
    """An answer of the site's, where the person's browser finds it."""
    url = f"http://127.0.0.1:{SITE['EDGE_PORT']}/api/comment/{path}"
    data = json.dumps(body).encode() if body else None
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=20) as reply:
        return str(reply.read().decode())


def engines(tools: Tools) -> list[str]:
    """Whatever of the tools' or of the sandbox's is in the engine."""
    found = []
    for kind in ("container ls --all", "volume ls", "network ls", "image ls"):
        listed = subprocess.run(
            ["docker", *kind.split(), "--format", "{{json .}}"], capture_output=True, text=True, check=True
        )
        found += [
            line for line in listed.stdout.splitlines() if container(tools) in line or SITE["SANDBOX_NAME"] in line
        ]
    return found


def container(tools: Tools) -> str:
    """The name of the tools' container, and of its image, and the beginning of its volumes' names."""
    said = subprocess.run(["cksum"], input=str(tools.clone), capture_output=True, text=True, check=True)
    return f"comentarios-tools-{said.stdout.split()[0]}"


def interrupted_tunnel(tools: Tools) -> None:
    """What is interrupted here does not go on in the container."""

    def open_() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(SITE["PROMETHEUS_PORT"]))) == 0

    command: list[str | Path] = [tools.clone / "tools", "make", "tunnel"]
    with subprocess.Popen(command, env=tools.environment, start_new_session=True) as tunnel:
        eventually(open_)
        os.killpg(tunnel.pid, signal.SIGINT)
    eventually(lambda: not open_(), seconds=30)


def test_whole_life(tools: Tools) -> None:
    try:
        if mirror := provider_mirror():
            tools.give(Path(str(shutil.which("terraform"))), mirror)
        tools("make", "up")
        assert "SUCCESS" in api("new", {"email": "alice@example.com", "comment": WORDS, "content_id": 1})
        said = tools("make", "status")
        assert "healthy  " in said and "UNHEALTHY" not in said
        assert tools("make", "ssh", "CMD=id --user --name").strip().endswith("admin")

        interrupted_tunnel(tools)

        # Another release: what is built here has another tag.
        with (tools.clone / "api" / "comentarios" / "comments.py").open("a") as source:
            source.write("# Another release.\n")
        tools("make", "release", "WATCH=5")
        assert len(tools("make", "images").split()) == 2
        tools("make", "backup")

        # The machine is started again, or the container removed: what was made lies in volumes.
        subprocess.run(["docker", "rm", "--force", container(tools)], capture_output=True, check=True)
        assert "the process does not run; no data is lost" in tools("make", "status", expected=2)
        if mirror:
            tools.give(Path(str(shutil.which("terraform"))), mirror)
        assert "stays live" in tools("make", "up")
        assert WORDS in api("list/1")
        tools("make", "status")
        # The folders that are mounted over were made by this test's user, the rest by root in the container.
        mounted = [part for name in (".state", ".venv") for part in ("-path", tools.clone / name, "-prune", "-o")]
        command = ["find", tools.clone, *mounted, "!", "-user", str(PERSON), "-print"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""
        tools("make", "down")
    finally:
        tools("make", "clean")
    assert engines(tools) == []
    status = ["git", "-c", "safe.directory=*", "status", "--short", "--ignored"]
    left = subprocess.run(status, cwd=tools.clone, capture_output=True, text=True, check=True)
    assert left.stdout.split() == ["M", "api/comentarios/comments.py"]
