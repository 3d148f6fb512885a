"""HAProxy with the edge's configuration before test replicas, and the release program's class Edge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from comentarios_release.edge import Edge
from comentarios_release.engine import LABEL, Engine
from comentarios_release.settings import ReleaseError, Settings
from comentarios_release.watch import Sample

from common.config import Config
from common.images import base
from sandbox import images
from tests.support.haproxy import STACK, rendered
from tests.support.waiting import eventually

# In the replicas' place HAProxy, too: it answers with its release and the headers that came.
REPLICA = """
defaults
    mode http
    timeout client 60s
    timeout server 60s
    timeout connect 1s
frontend api
    bind :8000
    http-request return content-type text/plain lf-string '{"release":"%[env(NAME)]","headers":"%[req.hdrs,json]"}'
"""
# One that takes so many seconds for every request.
SLOW = 3
TARPIT = f"    timeout tarpit {SLOW}s\n    http-request tarpit deny_status 200 if {{ path_beg /api }}\n"
SLOW_REPLICA = REPLICA.replace("    http-request return", f"{TARPIT}    http-request return")
USER = 10003


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout.strip()


class Host:
    """A network with the edge in it, and a folder as the host has it.

    Args:
        own: whether the network and the replica of release ``one`` are its own.
    """

    def __init__(self, folder: Path, image: str, project: str, own: bool):
        self.folder, self._image, self.project, self._own = folder, image, project, own
        self.settings = Settings(stack_dir=folder, project=self.project, edge_dir=folder)
        self.edge = Edge(self.settings, Engine(self.settings))
        self._network = f"{self.project}_api"
        self._made: list[str] = []
        for part in ("run", "haproxy", "certificates", "replica"):
            (folder / part).mkdir()
        os.chown(folder / "run", USER, USER)
        (folder / "replica" / "replica.cfg").write_text(REPLICA)
        if own:
            docker("network", "create", self._network)
            self.replica("one")

    def configure(self, **variables: object) -> None:
        (self.folder / "haproxy" / "haproxy.cfg").write_text(rendered(**variables))
        shutil.copy(STACK / "files" / "hold.lua", self.folder / "haproxy")

    def _run(self, name: str, service: str, options: list[str], command: list[str]) -> str:
        labels = (f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}")
        self._made.append(f"{self.project}-{name}")
        chosen = [f"--label={label}" for label in labels] + options
        docker(
            "run",
            "--detach",
            "--name",
            self._made[-1],
            "--network",
            self._network,
            *chosen,
            self._image,
            *command,
        )
        return self._made[-1]

    def replica(self, release: str, number: int = 1) -> str:
        options = ["--network-alias", f"release-{release}", "--label", f"{LABEL}={release}", "--env", f"NAME={release}"]
        options += ["--volume", f"{self.folder}/replica:/replica:ro"]
        command = ["haproxy", "-db", "-f", "/replica/replica.cfg"]
        return self._run(f"{release}-{number}", "api", options, command)

    def start(self) -> None:
        options = ["--user", f"{USER}:{USER}", "--read-only", "--cap-drop", "ALL"]
        for part, place in (
            ("haproxy", "/etc/haproxy:ro"),
            ("run", "/run/haproxy"),
            ("certificates", "/certificates:ro"),
        ):
            options += ["--volume", f"{self.folder}/{part}:{place}"]
        files = ["-f", "/etc/haproxy/live.cfg", "-f", "/etc/haproxy/haproxy.cfg"]
        self.name = self._run(
            "edge", "edge", options, ["haproxy", "-W", "-db", "-S", "/run/haproxy/master.sock", *files]
        )
        format_ = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        self.address = docker("inspect", "--format", format_, self.name)
        end = time.monotonic() + 20
        while self.get()[0] != 200:
            assert time.monotonic() < end, docker("logs", self.name)
            time.sleep(0.1)

    def get(self, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str]]:
        """Status and reply of a request for something of the API's; 0 where nothing came back."""
        request = urllib.request.Request(f"http://{self.address}:8080/api/x", body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
        except OSError:
            return 0, {}

    def remove(self) -> None:
        if self._made:
            subprocess.run(["docker", "rm", "--force", *self._made], capture_output=True, check=False)
        if self._own:
            docker("network", "rm", self._network)


@contextmanager
def _host(folder: Path, image: str, project: str, own: bool = True, edge: bool = True) -> Iterator[Host]:
    here = Host(folder, image, project, own)
    try:
        if edge:
            here.configure()
            here.edge.switch("one")
            here.start()
        yield here
    finally:
        here.remove()


@pytest.fixture(scope="module")
def image() -> str:
    config = Config()
    return images.ensure(config, "haproxy", base(config.state))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, image: str) -> Iterator[str]:
    """The project of a network with a replica of release ``one``, for tests that leave both as they are."""
    project = f"edge-parts-{os.getpid()}"
    with _host(tmp_path_factory.mktemp("shared"), image, project, edge=False):
        yield project


@pytest.fixture
def host(tmp_path: Path, image: str, shared: str) -> Iterator[Host]:
    """An edge before one replica of release ``one``, which others use, too."""
    with _host(tmp_path, image, shared, own=False) as here:
        yield here


@pytest.fixture
def whole_host(tmp_path: Path, image: str) -> Iterator[Host]:
    """An edge before a replica of its own, which may be stopped."""
    with _host(tmp_path, image, f"edge-parts-{os.getpid()}-own") as here:
        yield here


def test_forged_names_of_the_client_do_not_arrive(host: Host) -> None:
    """A name with underscores is to WSGI the same as one with dashes, or none."""
    forged = {"X_Real_IP": "1.2.3.4", "X_Request_ID": "1.2.3.4", "Client_IP": "1.2.3.4", "_x": "1.2.3.4"}
    connection = HTTPConnection(host.address, 8080, timeout=10)
    connection.request("GET", "/api/x", headers=forged)
    headers = json.loads(connection.getresponse().read())["headers"].lower()
    assert "host:" in headers and "1.2.3.4" not in headers


def test_after_a_switch_every_request_goes_to_the_new_release(host: Host) -> None:
    host.replica("two", 1)
    host.replica("two", 2)
    assert {host.get()[1]["release"] for _ in range(20)} == {"one"}
    host.edge.switch("two")
    assert host.edge.serving() == "two"
    assert {host.get()[1]["release"] for _ in range(50)} == {"two"}
    # And after a new start of the edge, which reads it from the file.
    docker("restart", "--time", "1", host.name)
    end = time.monotonic() + 10
    while host.get()[1].get("release") != "two":
        assert time.monotonic() < end


def test_release_without_replicas_is_no_target(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("comentarios_release.edge.DNS_SECONDS", 1.5)
    with pytest.raises(ReleaseError, match="the engine has them at none"):
        host.edge.switch("three")


def test_reload_cuts_no_connection_and_is_there_from_the_next_one_on(host: Host) -> None:
    kept = HTTPConnection(host.address, 8080, timeout=10)
    kept.request("GET", "/api/x")
    kept.getresponse().read()
    host.configure(stack_trusted_proxies=["0.0.0.0/0"])
    with ThreadPoolExecutor(4) as pool:
        during = [pool.submit(host.get) for _ in range(200)]
        host.edge.reload()
        assert {one.result()[0] for one in during} == {200}
    assert "\nx-forwarded-for: 9.9.9.9\r" in host.get(**{"X-Forwarded-For": "1.1.1.1, 9.9.9.9"})[1]["headers"]
    kept.request("GET", "/api/x")
    last = kept.getresponse()
    assert last.status == 200 and last.getheader("Connection") == "close"


def test_broken_configuration_is_refused_and_the_old_one_serves_on(host: Host) -> None:
    (host.folder / "haproxy" / "haproxy.cfg").write_text("nonsense\n")
    with pytest.raises(ReleaseError, match="refuses its configuration: .*nonsense"):
        host.edge.reload()
    assert host.get()[0] == 200


def test_counters(host: Host) -> None:
    """A request is counted when it is over, a moment after the client has its reply."""

    def settled() -> Sample | None:
        found = host.edge.sample()
        time.sleep(0.5)
        return found if found == host.edge.sample() else None

    before = eventually(settled)
    for _ in range(10):
        host.get()
    after = eventually(settled)
    assert before and after and (after.since(before).requests, after.since(before).errors) == (10, 0)


def test_edge_that_does_not_run_counts_nothing(host: Host) -> None:
    docker("stop", "--time", "1", host.name)
    assert host.edge.sample() is None
    host.edge.reload()


def test_request_waits_for_a_replica_that_comes_back(whole_host: Host) -> None:
    """And is told so in the API's words when none comes."""
    host = whole_host
    replica = f"{host.project}-one-1"
    docker("stop", "--time", "0", replica)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(host.get)
        time.sleep(1)
        docker("start", replica)
        assert waiting.result()[0] == 200
    docker("stop", "--time", "0", replica)
    begin = time.monotonic()
    status, reply = host.get()
    assert status == 503 and reply["status"] == "UNAVAILABLE" and reply["request_id"]
    assert 3 < time.monotonic() - begin < 8
    seen = host.edge.sample()
    assert seen and (seen.errors, seen.refused) == (1, 0)


def test_writes_wait_and_reads_do_not(host: Host) -> None:
    """Until they are released, or, if nobody does that, for some seconds; to the release that is live then."""
    assert host.get("POST", b"{}")[0] == 200
    host.replica("two")
    host.edge.hold_writes()
    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(host.get, "POST", b"x" * 40_000) for _ in range(40)]
        begin = time.monotonic()
        while time.monotonic() < begin + 3:
            assert host.get()[0] == 200
            time.sleep(0.02)
        assert not any(one.done() for one in waiting)
        host.edge.switch("two")
        host.edge.resume_writes()
        assert {(one.result()[0], one.result()[1]["release"]) for one in waiting} == {(200, "two")}
    host.edge.hold_writes()
    begin = time.monotonic()
    assert host.get("POST", b"{}")[0] == 200
    assert 7 < time.monotonic() - begin < 11
    assert time.monotonic() < begin + 15 and host.get("POST", b"{}")[0] == 200


def test_no_request_fails_while_every_replica_refuses(whole_host: Host) -> None:
    """As after a boot: they are in the DNS, and do not listen yet. Of several, each would be tried without a pause."""
    host = whole_host
    replicas = [f"{host.project}-one-1", *(host.replica("one", number) for number in (2, 3, 4))]
    host.edge.switch("one")
    rule = ["INPUT", "--protocol", "tcp", "--syn", "--dport", "8000", "--jump", "REJECT", "--reject-with", "tcp-reset"]

    def change(how: str) -> None:
        for replica in replicas:
            namespace = docker("inspect", "--format", "{{.State.Pid}}", replica)
            subprocess.run(["nsenter", "--target", namespace, "--net", "iptables", how, *rule], check=True)

    change("--append")
    # A new process has no connections to them yet, and takes them for well.
    host.edge.reload()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(host.get, "POST") for _ in range(40)]
        time.sleep(1)
        change("--delete")
        assert {one.result()[0] for one in waiting} == {200}


def test_client_above_its_rate_is_told_when_to_come_again(host: Host) -> None:
    host.configure(stack_client_post_rate=1)
    host.edge.reload()
    posts = [host.get("POST") for _ in range(12)]
    assert [status for status, _ in posts] == [200] * 10 + [429] * 2
    assert posts[-1][1]["status"] == "TOO-MANY-REQUESTS"
    assert host.get()[0] == 200


def test_client_above_its_bytes_is_told_when_to_come_again(host: Host) -> None:
    """40 KB at a time, at a rate that counts as few requests."""
    host.configure(stack_client_post_bytes=40_000)
    host.edge.reload()
    posts = [host.get("POST", body=b"x" * 40_000) for _ in range(15)]
    taken = [status for status, _ in posts].index(429)
    assert 8 <= taken <= 12 and {status for status, _ in posts[taken:]} == {429}
    assert posts[-1][1]["status"] == "TOO-MANY-REQUESTS"
    assert host.get()[0] == 200


@pytest.mark.parametrize(
    "places",
    [{"_stack_replica_requests": 20}, {"_stack_client_crowd_above": 0, "_stack_replica_crowd_requests": 20}],
    ids=["everybody", "crowd"],
)
def test_overload_is_refused_at_once(whole_host: Host, places: dict[str, int]) -> None:
    """Of many clients a replica serves some, some wait, and the others are told so without waiting."""
    host = whole_host
    (host.folder / "replica" / "replica.cfg").write_text(SLOW_REPLICA)
    docker("restart", "--time", "0", f"{host.project}-one-1")
    host.configure(stack_trusted_proxies=["0.0.0.0/0"], _stack_edge_queue=20, _stack_edge_crowd_queue=20, **places)
    # HAProxy has a thread for each CPU, and two may both see the queue's last place.
    docker("update", "--cpuset-cpus", "0", host.name)
    host.edge.reload()
    connections = [HTTPConnection(host.address, 8080, timeout=20) for _ in range(100)]
    # The edge waits until the replica is there again.
    connections[0].request("GET", "/api/x")
    assert connections[0].getresponse().status == 200
    connections[0].close()
    for connection in connections:
        connection.connect()
    begin = time.monotonic()
    for number, connection in enumerate(connections):
        connection.request("GET", "/api/x", headers={"X-Forwarded-For": f"9.9.{number}.9"})

    def read(connection: HTTPConnection) -> tuple[int, str | None, float]:
        reply = connection.getresponse()
        return reply.status, reply.getheader("Retry-After"), time.monotonic() - begin

    with ThreadPoolExecutor(len(connections)) as pool:
        replies = list(pool.map(read, connections))
    assert Counter(status for status, *_ in replies) == {200: 40, 503: 60}
    assert {after for status, after, _ in replies if status == 503} == {"5"}
    assert max(seconds for status, _, seconds in replies if status == 503) < SLOW
    connections[0].close()
    connections[0].request("GET", "/api/x")
    assert connections[0].getresponse().status == 200
    # The watch of a release and the objectives count each of them; the log has about one in a hundred.
    seen = host.edge.sample()
    assert seen and seen.errors == seen.refused == 60
    logged = subprocess.run(["docker", "logs", host.name], capture_output=True, text=True, check=True)
    assert (logged.stdout + logged.stderr).count('"status":503') < 10


def test_fewer_may_wait_for_a_second_after_a_refusal(whole_host: Host) -> None:
    """In an overload that lasts, a long queue only makes all wait longer; after it, there is room for a burst again."""
    host = whole_host
    (host.folder / "replica" / "replica.cfg").write_text(SLOW_REPLICA.replace(f"tarpit {SLOW}s", "tarpit 2s"))
    docker("restart", "--time", "0", f"{host.project}-one-1")
    host.configure(_stack_replica_requests=4, _stack_edge_queue=8, _stack_edge_overload_queue=2)
    # HAProxy has a thread for each CPU, and two may both see the queue's last place.
    docker("update", "--cpuset-cpus", "0", host.name)
    host.edge.reload()

    def status() -> int:
        connection = HTTPConnection(host.address, 8080, timeout=20)
        connection.request("GET", "/api/x")
        return connection.getresponse().status

    def at_once() -> int | None:
        """The status of a reply that comes at once; None if the request waits."""
        reply = pool.submit(status)
        return reply.result() if wait([reply], 0.9).done else None

    # The edge waits until the replica is there again.
    assert status() == 200

    with ThreadPoolExecutor(20) as pool:
        first = [pool.submit(status) for _ in range(16)]
        # Four are at the replica, eight wait, and four are refused.
        while sum(one.done() for one in first) < 4:
            time.sleep(0.05)
        while sum(one.done() for one in first) == 4:
            assert at_once() == 503
        # Four are served, and four wait.
        assert at_once() == 503
        time.sleep(1.1)
        assert at_once() is None
        assert Counter(one.result() for one in first) == {200: 12, 503: 4}


def test_without_an_engine_the_edge_goes_on(host: Host) -> None:
    """Its DNS is the engine's: no answer, and the replicas stay where they were."""
    namespace = docker("inspect", "--format", "{{.State.Pid}}", host.name)
    drop = ["iptables", "--append", "OUTPUT", "--protocol", "udp", "--jump", "DROP"]
    subprocess.run(["nsenter", "--target", namespace, "--net", *drop], check=True, capture_output=True)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        assert host.get()[0] == 200
        time.sleep(0.2)
