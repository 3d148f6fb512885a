"""Releases under load, good ones and bad ones: 200 requests a second the whole time, and none lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

from tests.release.conftest import PROGRAM, STAGED, lossless
from verbs.environment import ROOT


def test_release_and_rollback_lose_nothing(releases, pushed):
    before, tag = releases.live(), pushed("good")
    with releases.load() as report:
        done = releases.site.make("release", TAG=tag, WATCH="5")
        assert done.returncode == 0, done.stdout[-4000:]
        assert releases.version() == tag
        old_gone = releases.live()["times"]["stopped"] - releases.live()["started"]
        done = releases.site.make("rollback", WATCH="5")
        assert done.returncode == 0, done.stdout[-4000:]
    lossless(report)
    assert releases.version() == before["tag"]
    assert releases.live()["kind"] == "rollback" and old_gone < 30
    listed = releases.site.make("releases").stdout
    assert re.search(rf"^\* +{releases.live()['number']} .*{before['tag']}.* good \(rollback", listed, re.MULTILINE), (
        listed
    )
    metrics = releases.run("cat /var/lib/node_exporter/textfile/release.prom").stdout
    assert f'comentarios_release_info{{version="{before["tag"]}"}} 1.000' in metrics
    assert "comentarios_release_last_success 1.000" in metrics


def test_image_that_exits_at_its_start(releases, pushed):
    before, tag = releases.live(), pushed("exits")
    with releases.load() as report:
        done = releases.release(tag)
    lossless(report)
    assert done.returncode == 1
    assert "ended at its start" in done.stderr and "the settings make no sense" in done.stderr
    assert releases.live() == before and releases.version() == before["tag"]
    assert tag not in releases.images()
    assert "last_success 0.000" in releases.run("cat /var/lib/node_exporter/textfile/release.prom").stdout


def test_image_that_never_gets_ready(releases, pushed):
    before, tag = releases.live(), pushed("unready")
    settings = "/etc/comentarios/release.json"
    releases.run(f'sudo sed -i \'s/"ready_seconds": [0-9]*/"ready_seconds": 10/\' {settings}')
    try:
        with releases.load() as report:
            done = releases.release(tag)
    finally:
        releases.run(f'sudo sed -i \'s/"ready_seconds": [0-9]*/"ready_seconds": 60/\' {settings}')
    lossless(report)
    assert done.returncode == 1
    assert ":8000/readyz answered 503" in done.stderr and "the last lines of" in done.stderr
    assert releases.live() == before and releases.version() == before["tag"]


def test_tag_that_ecr_does_not_have(releases):
    before = releases.known()
    done = releases.site.make("release", TAG="no-such-tag")
    assert done.returncode != 0 and "ECR has no image comentarios-api:no-such-tag" in done.stdout
    assert releases.known() == before


def test_release_that_turns_bad_is_rolled_back_by_itself(releases, pushed):
    before, tag = releases.live(), pushed("late")
    with releases.load() as report:
        done = releases.release(tag, watch=60)
    assert done.returncode == 1 and "was rolled back" in done.stderr and "before the release" in done.stderr
    assert "the leak has eaten everything" in done.stderr
    assert releases.live() == before and releases.version() == before["tag"]
    # The image turns 20 s after its first request; nothing may fail before, and nothing 30 s after that.
    assert report["failed"] and set(report["reasons"]) <= {"status 500", "status 502"}, report["reasons"]
    assert report["last_failure"] - report["first_failure"] < 30
    assert report["missing"] == 0


def test_two_at_once(releases, pushed):
    tag = pushed("good")
    number = releases.begin(tag, watch=25)
    done = releases.site.make("release", TAG=releases.live()["tag"])
    assert done.returncode != 0 and "tests is releasing on this host since" in done.stdout
    assert releases.end(number).returncode == 0
    assert releases.live()["tag"] == tag


def test_controller_killed(releases, pushed, eventually, tmp_path):
    """At one step of a release; at each of them where PROVE=yes."""
    steps = ("created", "pulled", "started", "ready", "placed", "switched", "stopped")
    with releases.load() as report:
        for phase in steps if os.environ.get("PROVE") == "yes" else ("switched",):
            tag, before = pushed("good"), releases.last()["number"]
            # A killed Ansible leaves its sockets behind.
            environment = {**os.environ, "TAG": tag, "WATCH": "5", "TMPDIR": str(tmp_path)}
            process = subprocess.Popen(
                ["make", "release"], cwd=ROOT, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
            )

            def begun(before=before, phase=phase) -> bool:
                last = releases.last()
                return last["number"] > before and (phase == "created" or phase in last["times"])

            try:
                eventually(begun, seconds=120, pause=0.2)
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            done = releases.site.make("release", TAG=tag, WATCH="0")
            assert done.returncode == 0, done.stdout[-4000:]
            assert releases.version() == tag
            assert not releases.known()["lock"]
    lossless(report)


def test_program_killed_on_the_host_carries_on(releases, pushed, eventually):
    tag = pushed("good")
    with releases.load() as report:
        number = releases.begin(tag)
        eventually(lambda: "started" in releases.last()["times"], seconds=60, pause=0.1)
        assert releases.run("sudo systemctl kill --signal=KILL comentarios-release").returncode == 0
        done = releases.end(number)
    assert done.returncode == 0, done.stderr
    lossless(report)
    assert releases.version() == tag


def test_cancelled_release_is_undone(releases, pushed):
    before, tag = releases.live(), pushed("good")
    with releases.load() as report:
        releases.begin(tag, watch=60, token="cancelled")
        time.sleep(2)
        assert releases.run(f"{PROGRAM} cancel --token cancelled").stdout.strip() == '{"outcome": "cancelled"}'
    lossless(report)
    assert releases.live() == before and releases.version() == before["tag"]
    assert not releases.known()["lock"]


def test_edges_and_prometheus_configuration_change_under_load(releases):
    before = releases.live()
    releases.stage(before["tag"])
    releases.run(f"sudo sed -i 's/timeout queue 5s/timeout queue 6s/' {STAGED}/haproxy/haproxy.cfg")
    releases.run("sudo sed -i '$a# changed by a test' /opt/comentarios/prometheus/prometheus.yml")
    with releases.load() as report:
        done = releases.release()
        assert done.returncode == 0, done.stderr
        assert releases.live()["kind"] == "configuration"
        edge = "docker exec comentarios-edge-1 cat /etc/haproxy/haproxy.cfg"
        assert "timeout queue 6s" in releases.run(edge).stdout
        back = releases.run(f"{PROGRAM} rollback --owner tests --token tests --watch-seconds 0")
        assert back.returncode == 0, back.stderr
        done = releases.end(int(re.search(r'"number": (\d+)', back.stdout)[1]))
        assert done.returncode == 0, done.stderr
    lossless(report)
    assert "timeout queue 5s" in releases.run(edge).stdout
    assert "changed by a test" not in releases.run("cat /opt/comentarios/prometheus/prometheus.yml").stdout
    assert releases.live()["tag"] == before["tag"]
    releases.run(f"sudo sed -i 's/timeout queue 6s/timeout queue 5s/' {STAGED}/haproxy/haproxy.cfg")


def test_five_images_stay(releases, pushed):
    for _ in range(2):
        assert releases.release(pushed("good")).returncode == 0
    assert len(releases.images()) <= 5, releases.images()
    assert releases.live()["tag"] in releases.images()
    assert len(releases.run("docker ps -aq --filter label=com.docker.compose.service=api").stdout.split()) == 2
