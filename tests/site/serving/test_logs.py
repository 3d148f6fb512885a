"""`make logs` on the site, with real lines of the edge and the API."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
import uuid
from urllib.parse import urlsplit

import pytest

from tests.support import waiting
from tests.support.site import ROOT, Site


def lines(site: Site, **given: str) -> list[tuple[str, dict[str, object]]]:
    """The service and the JSON of each line that is shown."""
    done = site.make("logs", FOLLOW="no", timeout=60, **given)
    assert done.returncode == 0, done.stdout
    split = (line.split(" | ", 1) for line in done.stdout.splitlines() if " | {" in line)
    return [(name.strip().rpartition("-")[0], json.loads(text)) for name, text in split]


@pytest.fixture(scope="module")
def request_id(up: Site) -> str:
    """Of a thousand requests: of those that go well, the edge logs one in a hundred."""
    chosen = f"logs.{uuid.uuid4().hex}"
    connection = http.client.HTTPConnection(urlsplit(up.edge).netloc, timeout=10)
    for _ in range(1000):
        connection.request("GET", "/api/comment/list/nobody-wrote-here", headers={"X-Request-ID": chosen})
        assert connection.getresponse().read()
    connection.close()
    # The engine takes the lines from the containers' pipes when it gets to it.
    waiting.eventually(lambda: len(lines(up, REQUEST=chosen, SERVICE="api")) == 1000, 30)
    return chosen


def test_one_id_finds_the_lines_of_edge_and_api(up: Site, request_id: str) -> None:
    found = lines(up, REQUEST=request_id)
    assert {service for service, _ in found} == {"edge", "api"}
    assert {line.get("id") or line["request_id"] for _, line in found} == {request_id}
    assert lines(up, REQUEST=request_id, SERVICE="edge", SINCE="1h") == [one for one in found if one[0] == "edge"]


def test_host_that_is_gone(up: Site, request_id: str) -> None:
    """By the instance's id, as if its name were another host's by now: what it has sent to S3."""
    assert up.ssh("systemctl is-active comentarios-logs.timer").returncode == 0
    # The second that has not ended is sent the next time.
    time.sleep(1)
    sent = up.ssh("sudo systemctl start comentarios-logs.service", timeout=120)
    assert sent.returncode == 0, up.ssh("sudo journalctl -u comentarios-logs -n 20").stdout
    found = lines(up, REQUEST=request_id, HOST=up.host.instance_id, SINCE="1h")
    assert len([service for service, _ in found if service == "api"]) == 1000
    assert {service for service, _ in found} == {"edge", "api"}
    journal = up.make("logs", HOST=up.host.instance_id, GREP="Send the logs to S3", SINCE="yesterday")
    assert journal.returncode == 0 and "journal  | " in journal.stdout


def test_others_are_left_out(up: Site, request_id: str) -> None:
    assert not lines(up, REQUEST=request_id[:-1])
    assert not lines(up, REQUEST=request_id, LEVEL="error")
    shown = {"REQUEST": request_id, "GREP": "NOBODY-WROTE", "SERVICE": "api"}
    # On a machine that is busy, Compose may end before it has read all that the engine has.
    waiting.eventually(lambda: len(lines(up, **shown)) == 1000, 30)


def test_following_shows_what_comes(up: Site, request_id: str) -> None:
    """And nothing of it is left on the host when it ends."""
    marker = f"later.{uuid.uuid4().hex}"
    command = ["make", "-s", "logs", "SERVICE=api", f"GREP={marker}"]
    following = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert following.stdout
        address = urlsplit(up.edge).netloc
        # Until it follows: what is sent before that is shown, too.
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request("GET", f"/api/comment/list/{marker}")
        connection.getresponse().read()
        assert marker in following.stdout.readline()
        assert up.ssh(f"pgrep --full --count '[l]ogs.*{marker}'").stdout.strip() != "0"
    finally:
        # As a terminal does, to all that it runs.
        os.killpg(following.pid, signal.SIGINT)
        following.wait(timeout=20)
    waiting.eventually(lambda: up.ssh(f"pgrep --full --count '[l]ogs.*{marker}'").stdout.strip() == "0", 20)


def test_what_cannot_be_read_is_an_error(up: Site) -> None:
    done = up.make("logs", FOLLOW="no", SERVICE="nothing")
    assert done.returncode != 0 and "no such service: nothing" in done.stdout
    assert f"{up.host.name}: the logs cannot be read" in done.stdout
