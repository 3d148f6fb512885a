"""Which containers are started or restarted, with a fake engine and real servers on loopback."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import importlib.machinery
import importlib.util
import json
import os
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "roles/stack/files/comentarios-heal"


def load() -> Any:
    loader = importlib.machinery.SourceFileLoader("comentarios_heal", str(PROGRAM))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    # Data classes look their module up.
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


heal = load()


class Engine:
    """An engine's API at a socket.

    Attributes:
        found: its containers.
        answers: what it replies to an order, by path; 204 without a body to others. None: it never replies.
        orders: what it was told to do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[dict[str, Any]] = []
        self.answers: dict[str, tuple[int, Any] | None] = {}
        self.orders: list[str] = []
        self.ended = threading.Event()

    def replies(self, method: str, target: str) -> tuple[int, Any]:
        path, query = urlsplit(target).path, parse_qs(urlsplit(target).query)
        if method == "POST":
            self.orders.append(target.removeprefix("/containers/"))
        if path in self.answers:
            if (answer := self.answers[path]) is None:
                self.ended.wait()
            return answer or (500, None)
        if method == "POST":
            return 204, None
        if path == "/containers/json":
            labels = {"label": ["com.docker.compose.project=comentarios"]}
            assert query["all"] == ["1"] and json.loads(query["filters"][0]) == labels
            return 200, [{"Id": one["Id"]} for one in self.found]
        return 200, next(one for one in self.found if path == f"/containers/{one['Id']}/json")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    made = Engine(tmp_path / "docker.sock")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # As the engine does, which refuses a slash in it.
            assert self.headers["Host"] == "localhost"
            status, answer = made.replies(self.command, self.path)
            body = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def address_string(self) -> str:
            return ""

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """The client did not wait for the reply."""

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    release_is(tmp_path, "inactive")
    with Server(str(made.path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.ended.set()
        server.shutdown()
        thread.join()


def release_is(folder: Path, state: str) -> None:
    """Has systemctl say this of the release's unit."""
    program = folder / "systemctl"
    asked = "show --property=ActiveState --value comentarios-release.service"
    program.write_text(f'#!/bin/sh\n[ "$*" = "{asked}" ] && echo {state}\n')
    program.chmod(0o755)


def container(
    service: str,
    status: str = "running",
    error: str = "",
    addresses: tuple[str, ...] = ("127.0.0.1",),
    up: float = 3600,
) -> dict[str, Any]:
    """As the engine has it, what is not read left out."""
    started = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=up)
    state: dict[str, Any] = {"Status": status, "Error": error}
    # The engine writes nanoseconds.
    state["StartedAt"] = started.strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"
    return {
        "Id": f"id-{service}",
        "Name": f"/comentarios-{service}-1",
        "State": state,
        "HostConfig": {"Memory": 0 if service == "grafana" else 160 * 2**20},
        "Config": {"Labels": {"com.docker.compose.service": service}},
        "NetworkSettings": {
            "Networks": {f"net{index}": {"IPAddress": one, "Aliases": None} for index, one in enumerate(addresses)}
        },
    }


class Handler(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def serving(status: int = 200) -> Iterator[tuple[int, list[str]]]:
    """A server on a free port: the port, and the paths that it is asked for."""
    handler = type("Handler", (Handler,), {"status": status})
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        server.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1], server.asked  # type: ignore[attr-defined]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def hanging() -> Iterator[int]:
    """A port whose connections are taken by the kernel and answered by nobody: a process that is stopped."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        yield listener.getsockname()[1]


@pytest.fixture
def closed() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def host(engine: Engine, **values: Any) -> Any:
    return heal.Host(**{"engine": str(engine.path), "answer_seconds": 0.05, "engine_seconds": 5} | values)


def rounds(here: Any, number: int = 5) -> None:
    for _ in range(number):
        here.heal()


def test_what_the_engine_gave_up_is_started(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    error = "OCI runtime create failed: cannot allocate memory"
    engine.found = [container("edge", "exited", error), container("grafana", "exited", error)]
    host(engine).heal()
    assert engine.orders == ["id-edge/start", "id-grafana/start"]
    assert f"comentarios-edge-1 could not be started ({error}): starting it\n" in capfd.readouterr().err


@pytest.mark.parametrize(
    "left",
    [
        container("api", "exited"),
        container("prometheus", "exited"),
        container("api", "created", "no such image"),
        container("api", "restarting", "exit"),
        container("api", "paused"),
    ],
)
def test_what_somebody_stopped_or_the_engine_sees_to_is_left_alone(
    engine: Engine, closed: int, left: dict[str, Any]
) -> None:
    engine.found = [left]
    rounds(host(engine, api=closed, prometheus=closed))
    assert engine.orders == []


@pytest.mark.parametrize("status", [200, 429, 500, 503])
def test_replica_that_answers_at_all_is_left_alone(engine: Engine, status: int) -> None:
    """With a full disk it cannot write, and reads still."""
    engine.found = [container("api")]
    with serving(status) as (port, asked):
        rounds(host(engine, api=port))
    assert engine.orders == [] and asked == ["/healthz"] * 5


def test_replica_that_hangs_is_restarted(engine: Engine, hanging: int, capfd: pytest.CaptureFixture[str]) -> None:
    """After four silences in a row, not earlier."""
    engine.found = [container("api")]
    here = host(engine, api=hanging)
    rounds(here, 3)
    assert engine.orders == []
    here.heal()
    assert engine.orders == ["id-api/restart?t=5"]
    assert capfd.readouterr().err == "comentarios-api-1 does not answer: restarting it\n"


def test_an_answer_ends_a_silence(engine: Engine) -> None:
    engine.found = [container("api")]
    with serving() as (port, _asked):
        here = host(engine, api=port, silent={"id-api": 3})
        here.heal()
    assert engine.orders == [] and here.silent == {}


def test_replica_that_refuses_is_restarted(engine: Engine, closed: int) -> None:
    engine.found = [container("api")]
    rounds(host(engine, api=closed), 4)
    assert engine.orders == ["id-api/restart?t=5"]


def test_replica_is_asked_at_each_of_its_addresses(engine: Engine) -> None:
    """One answer is enough; a network that it is just leaving has no address."""
    engine.found = [container("api", addresses=("", "127.0.0.2", "127.0.0.1"))]
    with serving() as (port, asked):
        rounds(host(engine, api=port))
    assert engine.orders == [] and len(asked) == 5


@pytest.mark.parametrize("service", ["prometheus", "alertmanager"])
def test_monitoring_that_hangs_is_restarted(engine: Engine, hanging: int, service: str) -> None:
    engine.found = [container(service)]
    rounds(host(engine, **{service: hanging}), 4)
    assert engine.orders == [f"id-{service}/restart?t=5"]


@pytest.mark.parametrize("service", ["prometheus", "alertmanager"])
def test_monitoring_that_answers_is_left_alone(engine: Engine, service: str) -> None:
    engine.found = [container(service)]
    with serving(503) as (port, asked):
        rounds(host(engine, **{service: port}))
    assert engine.orders == [] and asked == ["/-/healthy"] * 5


@pytest.mark.parametrize("service", ["api", "prometheus"])
def test_container_is_given_time_after_its_start(engine: Engine, closed: int, service: str) -> None:
    here = host(engine, **{service: closed})
    engine.found = [container(service, up=30)]
    rounds(here)
    assert engine.orders == []
    engine.found = [container(service, up=50)]
    here.heal()
    assert engine.orders == [f"id-{service}/restart?t=5"]


@pytest.mark.parametrize(
    ("state", "restarted"),
    [("inactive", ["api", "prometheus"]), ("failed", ["api", "prometheus"]), ("activating", ["api"])],
)
def test_what_a_release_makes_anew_is_left_to_it(
    engine: Engine, tmp_path: Path, closed: int, state: str, restarted: list[str]
) -> None:
    """A restart between its stop and its removal failed the release."""
    release_is(tmp_path, state)
    engine.found = [container("api"), container("prometheus")]
    rounds(host(engine, api=closed, prometheus=closed), 4)
    assert engine.orders == [f"id-{service}/restart?t=5" for service in restarted]


def test_other_services_are_not_asked(engine: Engine, closed: int) -> None:
    engine.found = [container("edge"), container("grafana")]
    rounds(host(engine, api=closed, prometheus=closed, alertmanager=closed))
    assert engine.orders == []


def test_no_containers(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    host(engine).heal()
    assert engine.orders == [] and capfd.readouterr().err == ""


def test_container_that_is_just_removed(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    engine.found = [container("api"), container("edge", "exited", "no memory")]
    engine.answers["/containers/id-api/json"] = (404, {"message": "No such container: id-api"})
    host(engine).heal()
    assert engine.orders == ["id-edge/start"] and "No such container" not in capfd.readouterr().err


def test_engine_that_is_away(engine: Engine, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    heal.Host(engine=str(tmp_path / "none")).heal()
    assert capfd.readouterr().err == "GET /containers/json: [Errno 2] No such file or directory\n"
    engine.answers["/containers/json"] = (500, {"message": "the engine stops"})
    host(engine).heal()
    assert capfd.readouterr().err == "GET /containers/json: the engine stops\n"
    engine.answers["/containers/json"] = (500, None)
    host(engine).heal()
    assert capfd.readouterr().err == "GET /containers/json: Internal Server Error\n"


def test_one_that_cannot_be_started_holds_no_other_up(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    engine.found = [container(service, "exited", "no memory") for service in ("edge", "grafana", "prometheus")]
    engine.answers = {
        "/containers/id-edge/start": None,
        "/containers/id-grafana/start": (500, {"message": "still no memory"}),
    }
    host(engine, engine_seconds=0.5).heal()
    assert engine.orders == ["id-edge/start", "id-grafana/start", "id-prometheus/start"]
    said = capfd.readouterr().err
    assert "POST /containers/id-edge/start: timed out\n" in said
    assert "POST /containers/id-grafana/start: still no memory\n" in said


def test_program_goes_on(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Round after round, also after one that fails; it tells systemd of each."""
    engine.found = [container("edge", "exited", "no memory")]
    pauses = iter([5, 5])
    monkeypatch.setattr(heal.time, "sleep", lambda seconds: seconds == next(pauses))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        with pytest.raises(StopIteration):
            heal.main(host(engine, metrics=tmp_path / "gone" / "containers.prom"))
        assert [systemd.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
    assert engine.orders == ["id-edge/start"] * 3
    assert capfd.readouterr().err.count("[Errno 2] No such file or directory") == 3


def test_metrics_for_the_node_exporter(engine: Engine, tmp_path: Path) -> None:
    """Since when each runs and what it may use; one without a limit, and one that has never started, are left out."""
    new = container("api", "created")
    new["State"]["StartedAt"] = "0001-01-01T00:00:00Z"
    old = container("grafana")
    old["State"]["StartedAt"] = "2026-01-02T03:04:05.678901234Z"
    engine.found = [new, old]
    file = tmp_path / "containers.prom"
    host(engine, metrics=file, container=tmp_path / "none").heal()
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert lines == [
        "comentarios_host_in_container 0",
        'comentarios_container_start_time_seconds{service="grafana",container="comentarios-grafana-1"} 1767323045.679',
        'comentarios_container_memory_limit_bytes{service="api",container="comentarios-api-1"} 167772160',
    ]
    assert file.stat().st_mode & 0o777 == 0o644
    host(engine, metrics=file, container=tmp_path).heal()
    assert "comentarios_host_in_container 1\n" in file.read_text()
    assert [path.name for path in tmp_path.glob("containers.*")] == ["containers.prom"]


def test_metrics_that_cannot_be_written_stop_no_healing(engine: Engine, tmp_path: Path) -> None:
    engine.found = [container("edge", "exited", "no memory")]
    with pytest.raises(FileNotFoundError):
        host(engine, metrics=tmp_path / "gone" / "containers.prom").heal()
    assert engine.orders == ["id-edge/start"]
