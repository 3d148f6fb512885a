"""`make status` calls the API healthy only by the API's own reply."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from cli import certificate, status
from cli.host import Host
from common.config import Config
from sandbox import __main__ as sandbox

READY = '{"status":"SUCCESS","message":"ready"}'
# HAProxy's, while no replica answers.
IN_ITS_PLACE = '{"status":"UNAVAILABLE","message":"the service is not available","request_id":"1"}'
ROW = {
    "Name": "api-1",
    "State": "running",
    "ExitCode": 0,
    "Labels": "com.docker.compose.service=api,comentarios.release=new",
    "Service": "api",
    "Image": "api:v1",
    "Status": "Up",
}
STOPPED = {"Name": "api-2", "State": "exited"}
OLD = {"Labels": "comentarios.release=old"}


def edge() -> str:
    return "http://192.0.2.1"


@pytest.mark.parametrize(
    ("image", "version"),
    [("registry:5000/api:1cdb49918e13-20261126", "1cdb49918e13-20261126"), ("sha256:" + 16 * "0123", "012301230123")],
)
def test_an_image_without_a_tag_takes_no_line(image: str, version: str) -> None:
    assert status._version(image) == version


@pytest.mark.parametrize(
    ("ended", "body", "healthy"),
    [(0, READY, True), (0, IN_ITS_PLACE, False), (0, "", False), (22, "", False), (255, "", False)],
)
def test_edge_of_a_host(capsys: pytest.CaptureFixture[str], ended: int, body: str, healthy: bool) -> None:
    one, stack = Host("one", "192.0.2.1", "admin", "i-1"), CompletedProcess("", 0, json.dumps(ROW), "")
    probe = CompletedProcess("", ended, body, "")
    assert status._host(one, stack, probe, edge) is healthy
    word = "healthy" if healthy else "UNHEALTHY"
    assert f"{word:<9}  one API through the edge" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (STOPPED | OLD, "standby"),
        (STOPPED | OLD | {"ExitCode": 1}, "UNHEALTHY"),
        (STOPPED, "UNHEALTHY"),
        (STOPPED | {"Labels": "com.docker.compose.service=edge"}, "UNHEALTHY"),
        (OLD | {"Name": "api-2", "State": "restarting"}, "UNHEALTHY"),
        (OLD | {"Name": "api-2"}, "healthy"),
    ],
)
def test_replicas_of_a_release_that_is_watched(
    capsys: pytest.CaptureFixture[str],
    other: dict[str, str],
    word: str,
) -> None:
    """Those of the release before wait for a rollback; what ended by itself, or is of the live release, does not."""
    rows = "\n".join(json.dumps(ROW | one) for one in ({}, other))
    stack, probe = CompletedProcess("", 0, rows, ""), CompletedProcess("", 0, READY, "")
    healthy = status._host(Host("one", "192.0.2.1", "admin", "i-1"), stack, probe, edge)
    assert healthy is (word in {"healthy", "standby"})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if " one api " in line] == [
        "healthy",
        word,
    ]


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("pending\n", "create the DNS record `comments.example.com A 203.0.113.20`"),
        (
            "pending\n198.51.100.9\n",
            "comments.example.com resolves to 198.51.100.9, but this host is 203.0.113.20: create the DNS record",
        ),
        (
            "pending\n198.51.100.9\n203.0.113.20\n",
            "the authority has not issued one for comments.example.com yet: make ssh CMD=",
        ),
    ],
)
def test_certificate_that_is_pending(capsys: pytest.CaptureFixture[str], answer: str, line: str) -> None:
    """It waits for somebody's DNS record: that is no fault of the site."""
    one = Host("one", "10.0.0.1", "admin", "i-1", "comments.example.com", "203.0.113.20")
    stack, probe = CompletedProcess("", 0, json.dumps(ROW), ""), CompletedProcess("", 0, answer, "")
    assert status._host(one, stack, probe, edge) is True
    said = capsys.readouterr().out
    assert f"pending    one certificate  {line}" in said and "UNHEALTHY" not in said


def test_only_a_missing_certificate_is_pending(tmp_path: Path) -> None:
    """One that is there and refused is a fault: the shell's own answers, with stand-ins for curl and sudo."""
    one = Host("one", "10.0.0.1", "admin", "i-1", "comments.example.test", "203.0.113.20")
    for name, script in {"curl": "exit 60", "sudo": 'exec "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    command = certificate.probe(one).replace(certificate.FOLDER, str(tmp_path))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}

    def ask() -> CompletedProcess[str]:
        return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)

    assert "create the DNS record" in certificate.pending(one, ask())
    (tmp_path / "comments.example.test.pem").touch()
    refused = ask()
    assert refused.returncode and certificate.pending(one, refused) == ""


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
