"""The backup program: real SQLite, a real S3 API; Docker and PostgreSQL's client are stand-ins."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from comentarios_backup import __main__ as program
from comentarios_backup import stack
from comentarios_backup.settings import Settings
from comentarios_backup.stack import Stack
from comentarios_release.settings import Settings as StackSettings

from tests.support.backup import s3_api, settings_in
from tests.support.stand_ins import StandIns

REPLICA = {
    "Id": "one",
    "Name": "/comentarios-api-1",
    "Config": {"Image": "api:1", "Labels": {}},
    "State": {"Status": "running", "ExitCode": 0},
    "RestartCount": 0,
    "NetworkSettings": {"Networks": {"comentarios_api": {"IPAddress": "127.0.0.1"}}},
}
DOCKER = f"case \"$1\" in ps) echo one ;; container) echo '{json.dumps([REPLICA])}' ;; esac"


class Api(BaseHTTPRequestHandler):
    """A replica's /readyz; ``statuses`` are taken one after the other, the last for ever."""

    statuses = [200]

    def do_GET(self) -> None:
        self.send_response(self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    with s3_api() as client:
        yield client


@pytest.fixture
def settings(tmp_path: Path, s3: Any) -> Settings:
    return settings_in(tmp_path)


@pytest.fixture(scope="session")
def replica() -> Iterator[int]:
    """The port of an API's replica."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replica: int) -> StandIns:
    """The programs that the backup program calls, with one replica of the API that runs and gets ready."""
    made = StandIns(tmp_path / "programs", monkeypatch)
    made.add("docker", DOCKER)
    monkeypatch.setattr(stack, "PORT", replica)
    monkeypatch.setattr(stack, "READY_SECONDS", 0)
    return made


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The stack, with its releases in a folder of the test."""
    made = Stack(StackSettings(stack_dir=tmp_path / "stack"))
    monkeypatch.setattr(program, "Stack", lambda: made)
    return made


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the replica answers, to be changed."""
    made = [200]
    monkeypatch.setattr(Api, "statuses", made)
    return made
