"""The backup program: real SQLite, a real S3 API; Docker, the release program and PostgreSQL's client are stand-ins."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from comentarios_backup import stack
from comentarios_backup.settings import Settings

from tests.support.backup import s3_api, settings_in
from tests.support.stand_ins import StandIns

DOCKER = 'case "$1" in ps) echo one ;; inspect) echo 127.0.0.1 ;; esac'

# The lock, until its input ends.
HOLD = 'case "$1" in hold) echo held; cat ;; esac'


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
    monkeypatch.setattr(stack, "RELEASE", str(made.add("comentarios-release", HOLD)))
    monkeypatch.setattr(stack, "PORT", replica)
    monkeypatch.setattr(stack, "READY_SECONDS", 0)
    return made


@pytest.fixture
def statuses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the replica answers, to be changed."""
    made = [200]
    monkeypatch.setattr(Api, "statuses", made)
    return made
