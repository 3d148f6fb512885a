"""How `make outdated` reads the tools' output."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest
import requests

from cli import dependencies, image

LOCK = """boto3==1.44.5 \\
    --hash=sha256:00
networkx==3.6.1 ; python_full_version < '3.12' \\
networkx==3.7 ; python_full_version >= '3.12' \\
psycopg[binary]==3.3.9
"""
SIMULATED = """Inst libssl3t64 [3.5.1-1] (3.5.1-1+deb13u1 Debian-Security:13/stable-security [amd64])
Inst tzdata [2025b-4] (2026a-0+deb13u1 Debian:13.3/stable [all])
Conf libssl3t64 (3.5.1-1+deb13u1 Debian-Security:13/stable-security [amd64])
"""


def test_locks() -> None:
    assert dependencies.locked(LOCK) == {"boto3": "1.44.5", "networkx": "3.7", "psycopg": "3.3.9"}


def test_newer_is_what_the_resolver_would_take() -> None:
    have = {"boto3": "1.44.5", "gone": "1", "same": "2"}
    assert dependencies.newer(have, {"boto3": "1.44.8", "same": "2", "new": "1"}) == {"boto3": "boto3 1.44.5 → 1.44.8"}


def test_security_updates_are_marked() -> None:
    assert dependencies.upgrades(SIMULATED) == [
        "libssl3t64 3.5.1-1 → 3.5.1-1+deb13u1 (security)",
        "tzdata 2025b-4 → 2026a-0+deb13u1",
    ]
    assert dependencies.upgrades("") == []


@pytest.mark.parametrize(
    ("tag", "later"),
    [
        ("v2.53.3", ["v2.53.5", "v3.10.0"]),
        ("v2.53.5", ["v3.10.0"]),
        ("v3.10.0", []),
        ("2.53.3", ["2.60.0"]),
        ("latest", []),
    ],
)
def test_later_tags_are_those_of_the_same_form(tag: str, later: list[str]) -> None:
    tags = ["v2.53.3", "v2.53.4", "v2.53.5", "v2.53.6-rc.1", "v3.9.0", "v3.10.0", "2.60.0", "latest", "main"]
    assert dependencies.later_tags(tag, tags) == later


def test_what_could_not_be_asked_is_not_taken_for_safe() -> None:
    flaw = {"id": "PYSEC-2026-1", "fix_versions": ["1.1"]}
    unknown = {"name": "a", "skip_reason": "not found"}
    asked = {"name": "b", "version": "1.0", "vulns": [flaw]}
    assert dependencies.vulnerable([unknown, asked]) == [
        "b 1.0: PYSEC-2026-1, fixed in 1.1",
        "not available for 1 of 2 packages: PyPI cannot be reached",
    ]
    assert dependencies.vulnerable([{"name": "b", "version": "1.0", "vulns": []}]) == ["none known in 1 packages"]


class Hub(http.server.BaseHTTPRequestHandler):
    """As Docker Hub answers who has no log-in: only with a token, and in pages."""

    def do_GET(self) -> None:
        host = self.headers["Host"]
        if self.path.startswith("/token"):
            return self._say(200, {"token": "given"} if "scope=pull" in self.path else {})
        if self.headers["Authorization"] != "Bearer given":
            return self._say(401, {}, **{"WWW-Authenticate": f'Bearer realm="http://{host}/token",scope="pull"'})
        if self.path.startswith("/v2/a/b/manifests/1"):
            return self._say(200, {}, **{"Docker-Content-Digest": "sha256:1"})
        if "last" in self.path:
            return self._say(200, {"tags": ["2"]})
        return self._say(200, {"tags": ["1"]}, Link='</v2/a/b/tags/list?last=1>; rel="next"')

    do_HEAD = do_GET

    def _say(self, status: int, content: object, **headers: str) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_registry(hub: str) -> None:
    registry = dependencies.Registry(f"{hub}/a/b", scheme="http")
    assert registry.tags() == ["1", "2"] and registry.digest("1") == "sha256:1"


def test_registry_that_is_not_there() -> None:
    with pytest.raises(requests.ConnectionError):
        dependencies.Registry("127.0.0.1:1/a/b", scheme="http").tags()


def test_rebuilt_image_is_another_tag_of_the_same_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "tree_tag", lambda: "0123456789ab")
    monkeypatch.setattr("cli.image.time.strftime", lambda *_: "20260701")
    assert image._wanted(rebuild=False) == "0123456789ab"
    assert image._wanted(rebuild=True) == "0123456789ab-20260701"


def test_reply_of_another_kind_is_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's, say: without the digest, the token or the tags that a registry gives."""

    class Other(dependencies.Registry):
        def tags(self) -> list[str]:
            raise KeyError("tags")

    monkeypatch.setattr(dependencies, "Registry", Other)
    found = list(dependencies._newer_images())
    assert len(found) == 5 and all(line.endswith(": the registry cannot be reached") for line in found)
