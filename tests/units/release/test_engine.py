"""The commands for Docker and Compose, and how their answers are read, with a fake docker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comentarios_release.engine import Container, Engine, identity
from comentarios_release.settings import ReleaseError, Settings

from tests.support.docker import Docker

ID = "4b7c0c9ae4d3"
IMAGE = "registry/comentarios-api:v1"
SHOWN = Container(ID, "comentarios-api-1", "abc", IMAGE, "running", 0, 2, "172.18.0.5")


@pytest.fixture
def docker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    return Docker(folder / "bin", monkeypatch)


@pytest.fixture
def engine(folder: Path) -> Engine:
    return Engine(Settings(stack_dir=folder / "stack"), pull_pause=0)


def inspected(**changes: Any) -> dict[str, Any]:
    """As `docker container inspect` of Docker 26 has it, what is not read left out."""
    standard = {
        "Id": ID,
        "Name": "/comentarios-api-1",
        "State": {"Status": "running", "Running": True, "Pid": 4711, "ExitCode": 0, "Error": ""},
        "RestartCount": 2,
        "Config": {"Image": IMAGE, "Labels": {"comentarios.release": "abc", "com.docker.compose.service": "api"}},
        "NetworkSettings": {
            "Networks": {
                "comentarios_api": {"IPAddress": "172.18.0.5"},
                "comentarios_database": {"IPAddress": "172.19.0.5"},
            }
        },
    }
    return standard | changes


@pytest.fixture
def listed(docker: Docker, folder: Path) -> Callable[..., None]:
    def answer(*containers: dict[str, Any]) -> None:
        (folder / "inspected.json").write_text(json.dumps(containers))
        ids = " ".join(one["Id"] for one in containers)
        docker.answers(ps=f"echo {ids}", container_inspect=f"cat {folder}/inspected.json")

    return answer


# --- containers


def test_containers(engine: Engine, docker: Docker, listed: Callable[..., None]) -> None:
    other = inspected(
        Id="0002",
        Name="/comentarios-api-0",
        State={"Status": "exited", "ExitCode": 137},
        Config={"Image": IMAGE, "Labels": {}},
        NetworkSettings={"Networks": {"another": {"IPAddress": "10.0.0.1"}}},
    )
    listed(inspected(), other)
    found = engine.containers("api")
    assert found == [Container("0002", "comentarios-api-0", "", IMAGE, "exited", 137, 2, ""), SHOWN]
    assert [one.runs for one in found] == [False, True]
    assert docker.calls() == [
        "ps --all --quiet --no-trunc --filter label=com.docker.compose.project=comentarios "
        "--filter label=com.docker.compose.service=api",
        f"container inspect {ID} 0002",
    ]


def test_container_that_the_edge_does_not_reach(engine: Engine, listed: Callable[..., None]) -> None:
    listed(inspected(NetworkSettings={"Networks": {"comentarios_monitor": {"IPAddress": "172.18.0.5"}}}))
    assert [one.address for one in engine.containers("api")] == [""]


def test_no_containers(engine: Engine, docker: Docker, listed: Callable[..., None]) -> None:
    listed()
    assert engine.containers("api") == [] and len(docker.calls()) == 1


def test_container_that_goes_away_in_between_is_left_out(engine: Engine, docker: Docker, folder: Path) -> None:
    (folder / "inspected.json").write_text(json.dumps([inspected()]))
    lost = 'echo "Error: No such container: 0002" >&2; exit 1'
    docker.answers(ps=f"echo {ID} 0002", container_inspect=f"cat {folder}/inspected.json; {lost}")
    assert engine.containers("api") == [SHOWN]
    docker.answers(ps="echo 0002", container_inspect=lost)
    assert engine.containers("api") == []


def test_what_is_done_to_containers(engine: Engine, docker: Docker) -> None:
    docker.answers(stop="", start="", rm="", restart="")
    for act in (engine.stop, engine.start, engine.remove):
        act([])
        act(iter([SHOWN, SHOWN]))
    engine.restart(SHOWN)
    assert docker.calls() == [
        f"stop --time 30 {ID} {ID}",
        f"start {ID} {ID}",
        f"rm --force {ID} {ID}",
        f"restart {ID}",
    ]


def test_last_lines_come_from_both_streams_in_their_order(engine: Engine, docker: Docker) -> None:
    docker.answers(logs="echo one; echo two >&2; echo three")
    assert engine.logs(SHOWN) == "one\ntwo\nthree"
    assert docker.calls() == [f"logs --tail 15 {ID}"]
    docker.answers(logs="")
    assert engine.logs(SHOWN) == "(it wrote nothing)"


def test_last_lines_that_cannot_be_read_are_no_error(engine: Engine, docker: Docker) -> None:
    docker.answers(logs="exec sleep 20")
    assert "(they cannot be read: " in engine.logs(SHOWN, timeout=0.05)


def test_sighup_reaches_the_process(engine: Engine, docker: Docker) -> None:
    with subprocess.Popen(["sleep", "20"]) as process:
        docker.answers(inspect=f"echo {process.pid}")
        engine.send_sighup(SHOWN)
        assert process.wait(10) == -signal.SIGHUP
    # It has ended in between, or before.
    engine.send_sighup(SHOWN)
    docker.answers(inspect="echo 0")
    engine.send_sighup(SHOWN)


# --- Compose


def test_compose_runs_with_the_files_of_a_configuration(engine: Engine, docker: Docker, folder: Path) -> None:
    docker.answers(compose='echo "$API_RELEASE"')
    assert engine.compose(folder / "config", "abc", "up", "--scale", "api=4", "api") == "abc\n"
    config = folder / "config"
    assert docker.calls() == [
        f"compose --project-name comentarios --project-directory {folder}/stack --env-file {config}/.env "
        f"--file {config}/docker-compose.yml --file {config}/docker-compose.override.yml up --scale api=4 api"
    ]


def test_services_and_identities(engine: Engine, docker: Docker, folder: Path) -> None:
    services = {"api": {"image": IMAGE, "environment": {"A": "1"}}, "edge": {"image": "haproxy:3"}}
    config = folder / "config.json"
    config.write_text(json.dumps({"name": "comentarios", "services": services}))
    docker.answers(compose=f"cat {config}")
    assert engine.services(folder) == services
    first = identity(services["api"])
    assert len(first) == 12 and first != identity(services["edge"])
    # The same whatever the order of the keys; another with another setting.
    assert identity({"environment": {"A": "1"}, "image": IMAGE}) == first
    assert identity({"environment": {"A": "2"}, "image": IMAGE}) != first


def test_each_service_checks_its_own_files(engine: Engine, docker: Docker, folder: Path) -> None:
    docker.answers(run="")
    for service in ("edge", "prometheus", "alertmanager"):
        assert engine.check(folder, service, f"{service}:1", "7:7") == ""
    common = "run --rm --network none --user 7:7 --entrypoint"
    certificates = "--volume /var/lib/comentarios-edge/certificates:/certificates:ro"
    assert docker.calls() == [
        f"{common} haproxy --env LIVE_RELEASE=none --volume {folder}/haproxy:/etc/haproxy:ro {certificates} edge:1 "
        "-c -f /etc/haproxy/haproxy.cfg",
        f"{common} promtool --env LIVE_RELEASE=none --volume {folder}/prometheus:/etc/prometheus:ro prometheus:1 "
        "check config /etc/prometheus/prometheus.yml",
        f"{common} amtool --env LIVE_RELEASE=none --volume {folder}/alertmanager:/etc/alertmanager:ro alertmanager:1 "
        "check-config /etc/alertmanager/alertmanager.yml",
    ]


def test_what_a_check_finds(engine: Engine, docker: Docker, folder: Path) -> None:
    docker.answers(run="seq 9 >&2; exit 1")
    assert engine.check(folder, "edge", "edge:1", "7:7") == "5 6 7 8 9"


# --- images


def test_image_that_is_here_is_not_pulled(engine: Engine, docker: Docker) -> None:
    docker.answers(image_inspect=f"echo {ID}")
    engine.ensure_image(IMAGE)
    assert docker.calls() == [f"image inspect --format {{{{.Id}}}} {IMAGE}"]


def attempts(docker: Docker) -> int:
    return sum(call == f"pull --quiet {IMAGE}" for call in docker.calls())


def test_pull_is_tried_three_times(engine: Engine, docker: Docker, folder: Path) -> None:
    count = f"$(grep -c ^pull {folder}/bin/calls)"
    docker.answers(
        image_inspect="exit 1", pull=f'test {count} -ge 3 || {{ echo "connection reset by peer" >&2; exit 1; }}'
    )
    engine.ensure_image(IMAGE)
    assert attempts(docker) == 3


def test_pull_that_fails_names_the_image_and_the_reason(engine: Engine, docker: Docker) -> None:
    docker.answers(image_inspect="exit 1", pull='echo pulling >&2; echo "no basic auth credentials" >&2; exit 1')
    with pytest.raises(ReleaseError) as error:
        engine.ensure_image(IMAGE)
    assert str(error.value) == f"{IMAGE} is neither on this host nor can it be pulled: no basic auth credentials"
    assert attempts(docker) == 3


@pytest.mark.parametrize("message", ["manifest for it not found: manifest unknown", "repository not found"])
def test_image_that_the_registry_does_not_have_is_asked_for_once(engine: Engine, docker: Docker, message: str) -> None:
    docker.answers(image_inspect="exit 1", pull=f'echo "{message}" >&2; exit 1')
    with pytest.raises(ReleaseError, match=message):
        engine.ensure_image(IMAGE)
    assert attempts(docker) == 1


def test_what_images_say(engine: Engine, docker: Docker) -> None:
    docker.answers(
        image_inspect="echo 0123abc", image_ls="echo registry/comentarios-api:v1; echo b:v2", image_rm="exit 1"
    )
    assert engine.commit(IMAGE) == "0123abc"
    assert engine.tags("registry:5000/comentarios-api:v1") == ["registry/comentarios-api:v1", "b:v2"]
    # One that is in use stays.
    engine.remove_image(IMAGE)
    assert docker.calls()[1:] == [
        "image ls --format {{.Repository}}:{{.Tag}} registry:5000/comentarios-api",
        f"image rm {IMAGE}",
    ]


# --- errors


def test_error_is_the_last_line_that_the_client_wrote(engine: Engine, docker: Docker) -> None:
    docker.answers(info='echo first >&2; echo "Error response from daemon: it is gone" >&2; exit 1')
    with pytest.raises(ReleaseError, match="^Error response from daemon: it is gone$"):
        engine.docker("info")
    assert engine.docker("info", check=False) == ""


def test_error_without_a_word(engine: Engine, docker: Docker) -> None:
    docker.answers(info="exit 3")
    with pytest.raises(ReleaseError, match="^`docker info` ended with 3$"):
        engine.docker("info")


def test_client_that_hangs(engine: Engine, docker: Docker) -> None:
    docker.answers(info="exec sleep 20")
    with pytest.raises(ReleaseError, match="`docker info --format x …` did not end within 0.05 s"):
        engine.docker("info", "--format", "x", "y", timeout=0.05)


def test_client_that_is_not_installed(engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(ReleaseError, match="`docker` cannot be run: .*No such file"):
        engine.docker("info")
    assert "cannot be read" in engine.logs(SHOWN)


def test_signal_to_the_group_does_not_reach_the_client(engine: Engine, docker: Docker) -> None:
    """Ctrl-C, or systemd, must not tear a Compose run in two."""
    docker.answers(info="ps -o sid= -p $$")
    assert int(engine.docker("info")) != os.getsid(0)


def test_step_of_a_move_continues_when_its_line_was_heard(engine: Engine, docker: Docker, folder: Path) -> None:
    step = 'echo \'{"step": "hold"}\'; read -r _; echo \'{"step": "moved"}\'; read -r _'
    docker.answers(rm="exit 1", run=step)
    told: list[dict[str, Any]] = []
    engine.move(IMAGE, "finish", "", "database_url-1", told.append)
    assert told == [{"step": "hold"}, {"step": "moved"}]
    removed, ran = docker.calls()
    assert removed == "rm --force comentarios-move"
    assert ran.startswith("run --rm --interactive --name comentarios-move --no-healthcheck --read-only --cap-drop ALL ")
    secret = f"--volume {folder}/stack/secrets/database_url-1:/run/TO:ro --env TO_FILE=/run/TO"
    assert ran.endswith(f":/var/lib/comentarios {secret} {IMAGE} python -m comentarios.move finish")


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("echo first >&2; echo 'connection failed' >&2; exit 1", "cannot be moved: connection failed"),
        ('echo "python: No module named comentarios.move" >&2; exit 1', "older than this verb: run `make release`"),
        ('echo \'{"step": "hold"}\'; exec 0<&-; echo refused >&2; sleep 0.1; exit 1', "cannot be moved: refused"),
        ("exit 137", "it ended with 137"),
    ],
)
def test_step_of_a_move_that_fails(engine: Engine, docker: Docker, step: str, says: str) -> None:
    docker.answers(rm="", run=step)
    with pytest.raises(ReleaseError, match=says):
        engine.move(IMAGE, "copy", "", "database_url-1", lambda _: time.sleep(0.05))


def test_step_of_a_move_is_ended_when_the_release_is(engine: Engine, docker: Docker) -> None:
    docker.answers(rm="", run='echo \'{"step": "hold"}\'; sleep 60')

    def told(_: dict[str, Any]) -> None:
        raise ReleaseError("the edge cannot hold writes")

    begin = time.monotonic()
    with pytest.raises(ReleaseError, match="cannot hold writes"):
        engine.move(IMAGE, "finish", "", "database_url-1", told)
    assert time.monotonic() - begin < 30
    assert docker.calls()[-1] == "rm --force comentarios-move"
