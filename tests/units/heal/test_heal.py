"""Which containers are started or restarted, with a fake docker and real servers on loopback."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import importlib.machinery
import importlib.util
import json
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.docker import Docker

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


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    made = Docker(tmp_path / "bin", monkeypatch)
    release_is(tmp_path, "inactive")
    return made


def release_is(folder: Path, state: str) -> None:
    """Has systemctl say this of the release's unit, in the docker's own folder."""
    program = folder / "bin" / "systemctl"
    asked = "show --property=ActiveState --value comentarios-release.service"
    program.write_text(f'#!/bin/sh\n[ "$*" = "{asked}" ] && echo {state}\n')
    program.chmod(0o755)


def containers(docker: Docker, folder: Path, *found: dict[str, Any], **scripts: str) -> None:
    """Has docker list these."""
    (folder / "inspected.json").write_text(json.dumps(found))
    ids = " ".join(one["Id"] for one in found)
    standard = {"ps": f"echo {ids}", "inspect": f"cat {folder}/inspected.json", "start": "", "restart": ""}
    # The first that fits is taken.
    docker.answers(**scripts | standard)


def container(
    service: str,
    status: str = "running",
    error: str = "",
    health: str = "",
    addresses: tuple[str, ...] = ("127.0.0.1",),
    up: float = 3600,
) -> dict[str, Any]:
    """As `docker inspect` has it, what is not read left out."""
    started = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=up)
    state: dict[str, Any] = {"Status": status, "Error": error}
    # The engine writes nanoseconds.
    state["StartedAt"] = started.strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"
    if health:
        state["Health"] = {"Status": health, "FailingStreak": 3}
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


def host(**values: Any) -> Any:
    return heal.Host(**{"answer_seconds": 0.05, "docker_seconds": 5} | values)


def acts(docker: Docker) -> list[str]:
    return [call for call in docker.calls() if not call.startswith(("ps ", "inspect "))]


def test_what_the_engine_gave_up_is_started(docker: Docker, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    error = "OCI runtime create failed: cannot allocate memory"
    containers(docker, tmp_path, container("edge", "exited", error), container("grafana", "exited", error))
    host().heal()
    assert docker.calls() == [
        "ps --all --quiet --filter label=com.docker.compose.project=comentarios",
        "inspect id-edge id-grafana",
        "start id-edge",
        "start id-grafana",
    ]
    assert f"comentarios-edge-1 could not be started ({error}): starting it\n" in capfd.readouterr().err


@pytest.mark.parametrize(
    "left",
    [
        container("api", "exited"),
        container("prometheus", "exited"),
        container("api", "created", "no such image"),
        container("api", "restarting", "exit"),
        container("api", "paused", health="unhealthy"),
    ],
)
def test_what_somebody_stopped_or_the_engine_sees_to_is_left_alone(
    docker: Docker, tmp_path: Path, closed: int, left: dict[str, Any]
) -> None:
    containers(docker, tmp_path, left)
    host(api=closed, prometheus=closed).heal()
    assert acts(docker) == []


@pytest.mark.parametrize("health", ["healthy", "starting", ""])
def test_replica_whose_health_is_not_known_to_be_bad_is_not_asked(docker: Docker, tmp_path: Path, health: str) -> None:
    containers(docker, tmp_path, container("api", health=health))
    with serving() as (port, asked):
        host(api=port).heal()
    assert acts(docker) == [] and asked == []


@pytest.mark.parametrize("status", [200, 429, 500, 503])
def test_unhealthy_replica_that_answers_at_all_is_left_alone(docker: Docker, tmp_path: Path, status: int) -> None:
    """With a full disk it cannot write, and reads still."""
    containers(docker, tmp_path, container("api", health="unhealthy"))
    with serving(status) as (port, asked):
        host(api=port).heal()
    assert acts(docker) == [] and asked == ["/healthz"]


def test_replica_that_hangs_is_restarted(
    docker: Docker, tmp_path: Path, hanging: int, capfd: pytest.CaptureFixture[str]
) -> None:
    containers(docker, tmp_path, container("api", health="unhealthy"))
    host(api=hanging).heal()
    assert acts(docker) == ["restart --time 5 id-api"]
    assert capfd.readouterr().err == "comentarios-api-1 does not answer: restarting it\n"


def test_replica_that_refuses_is_restarted(docker: Docker, tmp_path: Path, closed: int) -> None:
    containers(docker, tmp_path, container("api", health="unhealthy"))
    host(api=closed).heal()
    assert acts(docker) == ["restart --time 5 id-api"]


def test_replica_is_asked_at_each_of_its_addresses(docker: Docker, tmp_path: Path) -> None:
    """One answer is enough; a network that it is just leaving has no address."""
    containers(docker, tmp_path, container("api", health="unhealthy", addresses=("", "127.0.0.2", "127.0.0.1")))
    with serving() as (port, asked):
        host(api=port).heal()
    assert acts(docker) == [] and len(asked) == 1


@pytest.mark.parametrize("service", ["prometheus", "alertmanager"])
def test_monitoring_that_hangs_is_restarted(docker: Docker, tmp_path: Path, hanging: int, service: str) -> None:
    containers(docker, tmp_path, container(service))
    host(**{service: hanging}).heal()
    assert acts(docker) == [f"restart --time 5 id-{service}"]


@pytest.mark.parametrize("service", ["prometheus", "alertmanager"])
def test_monitoring_that_answers_is_left_alone(docker: Docker, tmp_path: Path, service: str) -> None:
    containers(docker, tmp_path, container(service))
    with serving(503) as (port, asked):
        host(**{service: port}).heal()
    assert acts(docker) == [] and asked == ["/-/healthy"]


def test_monitoring_is_given_time_after_its_start(docker: Docker, tmp_path: Path, closed: int) -> None:
    containers(docker, tmp_path, container("prometheus", up=40))
    host(prometheus=closed).heal()
    assert acts(docker) == []
    containers(docker, tmp_path, container("prometheus", up=50))
    host(prometheus=closed).heal()
    assert acts(docker) == ["restart --time 5 id-prometheus"]


@pytest.mark.parametrize(
    ("state", "restarted"),
    [("inactive", ["api", "prometheus"]), ("failed", ["api", "prometheus"]), ("activating", ["api"])],
)
def test_what_a_release_makes_anew_is_left_to_it(
    docker: Docker, tmp_path: Path, closed: int, state: str, restarted: list[str]
) -> None:
    """A restart between its stop and its removal failed the release."""
    release_is(tmp_path, state)
    containers(docker, tmp_path, container("api", health="unhealthy"), container("prometheus"))
    host(api=closed, prometheus=closed).heal()
    assert acts(docker) == [f"restart --time 5 id-{service}" for service in restarted]


def test_other_services_are_not_asked(docker: Docker, tmp_path: Path, closed: int) -> None:
    containers(docker, tmp_path, container("edge", health="unhealthy"), container("grafana"))
    host(api=closed, prometheus=closed, alertmanager=closed).heal()
    assert acts(docker) == []


def test_no_containers(docker: Docker) -> None:
    docker.answers(ps="")
    host().heal()
    assert len(docker.calls()) == 1


def test_engine_that_is_away(docker: Docker, capfd: pytest.CaptureFixture[str]) -> None:
    docker.answers(ps='echo "Cannot connect to the Docker daemon" >&2; exit 1')
    host().heal()
    assert capfd.readouterr().err == "Cannot connect to the Docker daemon\n"
    docker.answers(ps="echo id-1", inspect='echo "Cannot connect to the Docker daemon" >&2; exit 1')
    host().heal()


def test_one_that_cannot_be_started_holds_no_other_up(
    docker: Docker, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    down = [container(service, "exited", "no memory") for service in ("edge", "grafana", "prometheus")]
    scripts = {"start_id-edge": "exec sleep 20", "start_id-grafana": 'echo "still no memory" >&2; exit 1'}
    containers(docker, tmp_path, *down, **scripts)
    host(docker_seconds=0.5).heal()
    assert acts(docker) == ["start id-edge", "start id-grafana", "start id-prometheus"]
    said = capfd.readouterr().err
    assert "`docker start` did not end within 0.5 s\n" in said and "still no memory\n" in said


def test_program_as_the_timer_runs_it(docker: Docker, tmp_path: Path) -> None:
    containers(docker, tmp_path, container("edge", "exited", "no memory"))
    command = [sys.executable, "-B", str(PROGRAM)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "comentarios-edge-1 could not be started (no memory): starting it\n"
    assert acts(docker) == ["start id-edge"]


def test_host_without_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert heal.main(host()) == 1
    assert capsys.readouterr().err == "comentarios-heal: [Errno 2] No such file or directory: 'docker'\n"


def test_metrics_for_the_node_exporter(docker: Docker, tmp_path: Path) -> None:
    """Since when each runs and what it may use; one without a limit, and one that has never started, are left out."""
    new = container("api", "created")
    new["State"]["StartedAt"] = "0001-01-01T00:00:00Z"
    old = container("grafana")
    old["State"]["StartedAt"] = "2026-01-02T03:04:05.678901234Z"
    containers(docker, tmp_path, new, old)
    file = tmp_path / "containers.prom"
    host(metrics=file, container=tmp_path / "none").heal()
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    assert lines == [
        "comentarios_host_in_container 0",
        'comentarios_container_start_time_seconds{service="grafana",container="comentarios-grafana-1"} 1767323045.679',
        'comentarios_container_memory_limit_bytes{service="api",container="comentarios-api-1"} 167772160',
    ]
    assert file.stat().st_mode & 0o777 == 0o644
    host(metrics=file, container=tmp_path).heal()
    assert "comentarios_host_in_container 1\n" in file.read_text()
    assert [path.name for path in tmp_path.glob("containers.*")] == ["containers.prom"]


def test_metrics_that_cannot_be_written_stop_no_healing(
    docker: Docker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    containers(docker, tmp_path, container("edge", "exited", "no memory"))
    assert heal.main(host(metrics=tmp_path / "gone" / "containers.prom")) == 1
    assert acts(docker) == ["start id-edge"]
    assert "comentarios-heal: [Errno 2] No such file or directory" in capsys.readouterr().err
