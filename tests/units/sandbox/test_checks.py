"""The sandbox's checks of this machine."""

from __future__ import annotations

import http.server
import ipaddress
import threading
from pathlib import Path

import pytest

from cli import terraform
from cli.targets import Target
from common.config import REGION, Config
from sandbox import checks, server


@pytest.mark.parametrize(
    ("program", "answer", "rule"),
    [
        ("ufw", "Status: active", "sudo ufw allow proto tcp from 10.83.0.0/24 to 10.83.0.1 port 4566,4567"),
        ("firewall-cmd", "running", "--add-source=10.83.0.0/24"),
        ("none", "", "sudo iptables -I INPUT -p tcp -s 10.83.0.0/24 -d 10.83.0.1 -m multiport --dports 4566,4567"),
    ],
)
def test_firewall_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, answer: str, rule: str
) -> None:
    for name in ("SANDBOX_SUBNET", "SANDBOX_AWS_PORT", "SANDBOX_METADATA_PORT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / program).write_text(f"#!/bin/sh\necho '{answer}'\n")
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(checks, "_enabled", lambda *_: False)
    name, command = checks.firewall(Config())
    assert rule in command and (name == program or program in ("firewall-cmd", "none"))


def test_another_server_at_the_address_of_the_apis(tmp_path: Path) -> None:
    """A router, say, that answers for every address."""

    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        here = Config(
            subnet=ipaddress.IPv4Network("127.0.0.0/24"),
            aws_port=stranger.server_port,
            metadata_port=stranger.server_port,
            state=tmp_path,
        )
        assert not server.answers(here)
        assert not terraform.answers(Target("sandbox", tmp_path, here.credentials() | {"AWS_REGION": REGION}, here))
        stranger.shutdown()
