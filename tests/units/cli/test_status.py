"""What `make status` calls healthy: the API's own word, and no other answer."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from cli import host, status
from cli.host import Host
from cli.targets import Target
from common.config import Config
from sandbox import __main__ as sandbox

READY = '{"status":"SUCCESS","message":"ready"}'
# HAProxy's, while no replica answers.
IN_ITS_PLACE = '{"status":"UNAVAILABLE","message":"the service is not available","request_id":"1"}'
ROW = {
    "Name": "api-1",
    "State": "running",
    "Health": "healthy",
    "ExitCode": 0,
    "Labels": "com.docker.compose.service=api,comentarios.release=new",
    "Service": "api",
    "Image": "api:v1",
    "Status": "Up",
}
STOPPED = {"Name": "api-2", "State": "exited", "Health": ""}
OLD = {"Labels": "comentarios.release=old"}


@pytest.mark.parametrize(
    ("ended", "body", "healthy"),
    [(0, READY, True), (0, IN_ITS_PLACE, False), (0, "", False), (22, "", False), (255, "", False)],
)
def test_edge_of_a_host(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ended: int,
    body: str,
    healthy: bool,
) -> None:
    monkeypatch.setattr(host, "edge", lambda *_: "http://192.0.2.1")
    one, stack = Host("one", "192.0.2.1", "admin", "i-1"), CompletedProcess("", 0, json.dumps(ROW), "")
    probe = CompletedProcess("", ended, body, "")
    assert status._host(Target("aws", tmp_path, {}), one, stack, probe) is healthy
    word = "healthy" if healthy else "UNHEALTHY"
    assert f"{word:<9}  one API through the edge" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (STOPPED | OLD, "standby"),
        (STOPPED | OLD | {"ExitCode": 1}, "UNHEALTHY"),
        (STOPPED, "UNHEALTHY"),
        (STOPPED | {"Labels": "com.docker.compose.service=edge"}, "UNHEALTHY"),
        (OLD | {"Name": "api-2", "Health": "starting"}, "starting"),
        (OLD | {"Name": "api-2"}, "healthy"),
    ],
)
def test_replicas_of_a_release_that_is_watched(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    other: dict[str, str],
    word: str,
) -> None:
    """Those of the release before wait for a rollback; what ended by itself, or is of the live release, does not."""
    monkeypatch.setattr(host, "edge", lambda *_: "http://192.0.2.1")
    rows = "\n".join(json.dumps(ROW | one) for one in ({}, other))
    stack, probe = CompletedProcess("", 0, rows, ""), CompletedProcess("", 0, READY, "")
    healthy = status._host(Target("aws", tmp_path, {}), Host("one", "192.0.2.1", "admin", "i-1"), stack, probe)
    assert healthy is (word in {"healthy", "standby"})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if " one api " in line] == [
        "healthy",
        word,
    ]


@pytest.mark.parametrize(("code", "body", "serves"), [(200, READY, True), (200, "", False), (503, IN_ITS_PLACE, False)])
def test_edge_of_a_sandbox_without_its_apis(code: int, body: str, serves: bool) -> None:
    class Edge(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Edge) as edge:
        threading.Thread(target=edge.serve_forever, daemon=True).start()
        assert sandbox._serves(Config(edge_port=edge.server_port)) is serves
        edge.shutdown()
