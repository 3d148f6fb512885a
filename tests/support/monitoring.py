"""Small clients of the host's monitoring."""

import contextlib
import json
import math
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.support.site import Site

# Threads use it while pytest takes variables out of the environment: it does not look for a proxy there.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(url: str, body: dict[str, Any] | None = None, timeout: float = 15, **headers: str) -> tuple[int, bytes]:
    """Status and body of a GET, or of a POST of `body` as JSON; status 0 when nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"} | headers)
    try:
        with OPENER.open(request, timeout=timeout) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError:
        return 0, b""


@contextlib.contextmanager
def outage(site: Site) -> Iterator[None]:
    """No replica of the API for as long as the block lasts; the same ones serve again behind it."""
    found = site.ssh("docker ps --quiet --filter label=com.docker.compose.service=api")
    replicas = " ".join(found.stdout.split())
    assert replicas, found.stderr
    stopped = site.ssh(f"docker stop --time 5 {replicas}")
    assert stopped.returncode == 0, stopped.stderr
    try:
        yield
    finally:
        started = site.ssh(f"docker start {replicas}")
        assert started.returncode == 0, started.stderr


@dataclass(frozen=True)
class Prometheus:
    """Prometheus' HTTP API at `url`."""

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        """The field `data` of an answer. AssertionError with Prometheus' own words when it refuses."""
        status, body = http(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=35)
        assert status, f"{self.url} does not answer"
        answer = json.loads(body)
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]

    def instant(self, expr: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("query", query=expr)["result"]
        return found

    def has_data(self, expr: str, seconds: float, step: float, instant: bool) -> bool:
        """Whether a panel that asks for the last `seconds` would show a number."""
        if instant:
            return any(math.isfinite(float(series["value"][1])) for series in self.instant(expr))
        end = time.time()
        found = self.get("query_range", query=expr, start=str(end - seconds), end=str(end), step=str(step))["result"]
        return any(math.isfinite(float(value)) for series in found for _, value in series["values"])


@dataclass
class Traffic:
    """Users of the API at `edge`: comments are written and read, and some ask for what is not there."""

    edge: str
    statuses: list[int] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=20)

    def once(self) -> None:
        comment = {"email": "alice@example.com", "comment": "first post!", "content_id": 1}
        for path, body in (("new", comment), ("list/1", None), ("list/never-seen", None), ("new", {"email": "?"})):
            self.statuses.append(http(f"{self.edge}/api/comment/{path}", body)[0])

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            self.once()
