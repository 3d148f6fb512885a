"""Another application in place of the comments API, by the steps of docs/adapt.md."""

from __future__ import annotations

import json
import re
import shlex
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.site import ROOT, environment, run
from tests.support.substitution import queries
from tests.support.waiting import eventually

SITE = {
    "SANDBOX_NAME": "comentarios-hello",
    "SANDBOX_SUBNET": "10.97.0.0/24",
    "SANDBOX_REGISTRY_PORT": "4581",
    "EDGE_PORT": "8096",
    # The clone's own.
    "SANDBOX_STATE": "",
    "PROJECT": "hello",
}
STEPS = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs" / "adapt.md").read_text(), re.MULTILINE | re.DOTALL)


class Hello:
    """The clone that the steps make, and its site."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clone = folder, folder / "hello"

    def run(self, script: str, folder: Path) -> str:
        """Runs a script of a shell; its output."""
        done = run(["bash", "-ec", f"cd {shlex.quote(str(folder))}\n{script}"], environment(SITE))
        assert done.returncode == 0, f"{script[:200]}: {done.stdout[-4000:]}"
        return done.stdout

    def follow(self) -> str:
        """Runs the steps in one shell; its output."""
        return self.run("\n".join(STEPS).replace("REPOSITORY", shlex.quote(str(ROOT))), self.folder)

    def make(self, arguments: str) -> str:
        return self.run(f"make {arguments}", self.clone)

    def remove(self) -> None:
        """Removes the sandbox and the application's images; the built images of the sandbox stay for others."""
        if self.clone.exists():
            self.make("down PROJECT= DELETE_DATA=yes")
            label = "label=org.opencontainers.image.revision=$(git rev-parse HEAD)"
            self.run(
                f'docker image ls --quiet --filter "{label}" | xargs --no-run-if-empty docker rmi --force', self.clone
            )

    def on_host(self, command: str) -> str:
        return self.make(f"-s ssh CMD={shlex.quote(command)}")

    def prometheus(self, path: str, **parameters: str) -> Any:
        """The field `data` of an answer of the host's Prometheus."""
        given = " ".join(f"--data-urlencode {shlex.quote(f'{name}={value}')}" for name, value in parameters.items())
        answer = json.loads(self.on_host(f"curl --silent --get 127.0.0.1:9090/api/v1/{path} {given}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, query: str) -> list[float]:
        return [float(one["value"][1]) for one in self.prometheus("query", query=query)["result"]]


@contextmanager
def asked(url: str) -> Iterator[Counter[str]]:
    """What a client gets, one request after the other, for as long as the block lasts."""
    got: Counter[str] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.05):
            try:
                got[requests.get(url, timeout=10).text.strip()] += 1
            except requests.RequestException as error:
                got[repr(error)] += 1

    client = threading.Thread(target=ask)
    client.start()
    try:
        yield got
    finally:
        over.set()
        client.join()


def test_hello_world(tmp_path: Path) -> None:
    hello = Hello(tmp_path)
    try:
        edge = re.findall(r"^  API +(http://[^/]+)/", hello.follow(), re.MULTILINE)[-1]
        greeting = f"{edge}/api/hello"
        for _ in range(20):
            assert requests.get(greeting, timeout=10).json() == {"hello": "world"}
        assert requests.get(f"{edge}/metrics", timeout=10).status_code == 404
        assert requests.get(f"{edge}/api/comment/list/1", timeout=10).status_code == 404
        status = hello.make("status")
        assert "hello-1 API through the edge" in status and "UNHEALTHY" not in status

        eventually(lambda: hello.values('up{job="api"}') == [1, 1], seconds=60)
        rules = [one["name"] for group in hello.prometheus("rules")["groups"] for one in group["rules"]]
        assert "NobodyGreets" in rules and "ApiDown" in rules
        assert [name for name in rules if name.startswith("Backup")] == []
        assert hello.on_host("systemctl is-enabled comentarios-backup.timer || true").strip() == "disabled"

        board = json.loads((hello.clone / "roles/grafana/files/dashboards/api.json").read_text())
        (panel,) = (one.expr for one in queries("api", board) if one.panel == "Greetings")
        with asked(greeting) as got:
            eventually(lambda: [rate > 0 for rate in hello.values(panel)] == [True], seconds=120)
            source = hello.clone / "api" / "api.py"
            source.write_text(source.read_text().replace('"world"', '"again"'))
            hello.make("release WATCH=5")
        # A release loses nothing of it either.
        assert set(got) == {'{"hello":"world"}', '{"hello":"again"}'}, got
        assert requests.get(greeting, timeout=10).json() == {"hello": "again"}
    finally:
        hello.remove()
    with pytest.raises(requests.ConnectionError):
        requests.get(edge, timeout=10)
