"""The registry as the sandbox asks it: by TLS with its own CA and certificate, and with its own password."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import keys
from common.config import ECR_USER, Config, ecr_host
from sandbox import registry

ANSWERS = {
    "/v2/_catalog?n=1000": {"repositories": ["api", "empty"]},
    "/v2/api/tags/list": {"name": "api", "tags": ["v1", "v2"]},
    "/v2/api/manifests/v1": {"schemaVersion": 2},
}
TYPE = "application/vnd.docker.distribution.manifest.v2+json"


class Store(http.server.BaseHTTPRequestHandler):
    authorization = ""

    def do_GET(self) -> None:
        known = self.headers["Authorization"] == self.authorization
        content = json.dumps(ANSWERS.get(self.path, {})).encode()
        self.send_response(401 if not known else 200 if self.path in ANSWERS else 404)
        self.send_header("Content-Type", TYPE)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """A sandbox with a store; what the environment says of proxies and CAs must not matter."""
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    keys.make(tmp_path)
    Store.authorization = f"Basic {base64.b64encode(f'{ECR_USER}:{keys.load(tmp_path).registry}'.encode()).decode()}"
    registry.make_certificate(Config(state=tmp_path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ecr.pem", tmp_path / "ecr.key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Config(state=tmp_path, registry_port=server.server_port)
        server.shutdown()


def test_tags(config: Config) -> None:
    """A repository whose tags were all deleted is a 404."""
    assert registry.tags(config) == {"api": ["v1", "v2"], "empty": []}


def test_manifest(config: Config) -> None:
    assert registry.manifest(config, "api", "v1") == (json.dumps(ANSWERS["/v2/api/manifests/v1"]), TYPE)


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_certificate_is_for_the_name_in_every_region(config: Config, region: str) -> None:
    context = ssl.create_default_context(cafile=config.state / "ca.pem")
    with socket.create_connection(("127.0.0.1", config.registry_port)) as plain:
        context.wrap_socket(plain, server_hostname=ecr_host(region)).close()


def test_another_authority(config: Config) -> None:
    """A sandbox trusts its own CA only. Its certificate is made once."""
    before = (config.state / "ca.pem").read_bytes()
    registry.make_certificate(config)
    assert (config.state / "ca.pem").read_bytes() == before
    (config.state / "ecr.key").unlink()
    registry.make_certificate(config)
    assert registry.tags(config) is None


def test_another_password(config: Config) -> None:
    (config.state / "keys.json").unlink()
    keys.make(config.state)
    assert registry.tags(config) is None


def test_nobody_listens(tmp_path: Path) -> None:
    keys.make(tmp_path)
    registry.make_certificate(Config(state=tmp_path))
    assert registry.tags(Config(state=tmp_path, registry_port=1)) is None


def test_another_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that runs, but not where this machine pushes, is made again. The images are in a volume, which stays."""
    keys.make(tmp_path)
    told: list[tuple[str, ...]] = []
    answers: Iterator[dict[str, list[str]] | None] = iter([None, None, {}])
    running = {"Id": "sha256:1", "Image": "sha256:1", "State": {"Running": True}}
    monkeypatch.setattr(registry, "inspect", lambda *_: running)
    monkeypatch.setattr(registry, "docker", lambda *arguments, **_: told.append(arguments))
    monkeypatch.setattr(registry, "copy_into", lambda *_, **__: None)
    monkeypatch.setattr(registry, "tags", lambda _: next(answers))
    config = Config(name="units", state=tmp_path, registry_port=4999)
    registry.up(config, "image")
    assert [call[0] for call in told] == ["rm", "volume", "create", "start"]
    assert told[0] == ("rm", "--force", "units-ecr") and "127.0.0.1:4999:443" in told[2]
    told.clear()
    monkeypatch.setattr(registry, "tags", lambda _: {})
    registry.up(config, "image")
    assert told == []


def test_delete_leaves_the_images_other_tags(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in ECR. The store removes a manifest with every tag that it has."""
    store = {"v1": b"same", "latest": b"same", "v0": b"other"}

    def digest(content: bytes) -> str:
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def answer(self: Store) -> None:
        name = self.path.rpartition("/")[2]
        if self.command == "PUT":
            assert self.headers["Content-Type"] == TYPE
            store[name] = self.rfile.read(int(self.headers["Content-Length"]))
        if self.command == "DELETE":
            for tag in [tag for tag, content in store.items() if digest(content) == name]:
                del store[tag]
        content = store.get(name, b"")
        self.send_response(200 if content or self.command == "DELETE" else 404)
        self.send_header("Content-Type", TYPE)
        self.send_header("Docker-Content-Digest", digest(content))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    for method in ("GET", "PUT", "DELETE"):
        monkeypatch.setattr(Store, f"do_{method}", answer, raising=False)
    registry.delete(config, "api", "v1", {"latest", "v0"})
    assert store == {"latest": b"same", "v0": b"other"}
