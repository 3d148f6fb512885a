"""Every outcome of a release, under 200 requests a second, none of which is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from common.paths import ROOT
from tests.support.releases import LIVE, PROGRAM, STAGED, lossless

BOOKS = [yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text()) for name in ("host", "release")]
TAGS = sorted({tag for (play,) in BOOKS for role in play["roles"] for tag in role["tags"]} - {"always"} | {"people"})
FILES = f"sudo find {LIVE} -type f -not -path '{LIVE}/releases/*' -not -path '{STAGED.rpartition('/')[0]}/*'"
SUMS = f"{FILES} -exec sha256sum {{}} + | sort"
# As the backup program does it.
HOLD = (
    "import time; from pathlib import Path; from comentarios_release.lock import hold; "
    f"held = hold(Path('{LIVE}/releases'), 'restore'); held.__enter__(); time.sleep(600)"
)


@pytest.fixture
def restoring(releases, eventually) -> Iterator[None]:
    """A restore has the lock."""
    unit = "sudo systemd-run --quiet --unit tests-restore --setenv PYTHONPATH=/usr/local/lib/comentarios"
    started = releases.run(f'{unit} python3 -c "{HOLD}"')
    assert started.returncode == 0, started.stderr
    try:
        eventually(lambda: releases.run(f"sudo flock --nonblock {LIVE}/releases/lock true").returncode == 1, 20)
        yield
    finally:
        releases.run("sudo systemctl stop tests-restore")


@pytest.fixture(scope="module")
def changed_by_hand(releases) -> Iterator[None]:
    """Every live file that roles write ends with one line more; `site.yml` puts them right."""
    before = _staged_by_roles(releases)
    kinds = "\\( -name '*.yml' -o -name '*.json' -o -name '*.cfg' -o -name '*.ini' \\)"
    assert releases.run(f"{FILES} {kinds} -exec sh -c 'for file; do echo >> $file; done' - {{}} +").returncode == 0
    assert any(one.endswith("/prometheus/prometheus.yml") for one in before - _staged_by_roles(releases))
    yield
    done = releases.site.play(stack_watch_seconds=0)
    assert done.returncode == 0, done.stdout[-3000:]
    assert _staged_by_roles(releases) == before


def _staged_by_roles(releases) -> set[str]:
    """The live files with their digests; not what a release writes (.env) and what the edge keeps."""
    return {one for one in releases.run(SUMS).stdout.splitlines() if not one.endswith(("/.env", "/live.cfg", ".state"))}


def test_image_that_never_gets_ready(releases, pushed):
    before, tag = releases.live(), pushed("unready")
    with releases.load() as report:
        done = releases.release(tag, ready=10)
    lossless(report)
    assert done.returncode == 1
    assert ":8000/readyz answered 503" in done.stderr and "the last lines of" in done.stderr
    assert releases.live() == before and releases.version() == before["tag"]


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
    """The second waits until the first has ended, and then releases its own."""
    first, second = pushed("good"), pushed("good")
    number = releases.begin(first, watch=25)
    done = releases.site.make("release", TAG=second, WATCH="0")
    assert done.returncode == 0, done.stdout[-4000:]
    ended = next(one for one in releases.known()["releases"] if one["number"] == number)
    assert ended["outcome"] == "good"
    assert releases.live()["tag"] == second and releases.last()["started"] >= ended["finished"]


def test_roles_tag_beside_a_release(releases, pushed):
    """It waits for the release to end, and changes no live file before."""
    tag = pushed("good")
    number = releases.begin(tag, watch=15)
    done = releases.site.play("--tags", "prometheus")
    assert done.returncode == 0, done.stdout[-3000:]
    first = next(one for one in releases.known()["releases"] if one["number"] == number)
    assert first["outcome"] == "good" and releases.version() == tag
    assert releases.roll_back().returncode == 0


def test_release_beside_a_restore_is_refused_by_name(releases, pushed, restoring):
    before, tag = releases.live(), pushed("good")
    done = releases.release(tag)
    assert done.returncode == 1 and "restore has been working on this host since" in done.stderr, done.stderr
    assert releases.live() == before


@pytest.mark.parametrize("tag", TAGS)
def test_only_the_program_changes_live_files(releases, restoring, changed_by_hand, tag):
    """While it may not run, a role's tag changes none, though each differs from what the role stages."""
    before = releases.run(SUMS).stdout
    done = releases.site.play("--tags", tag)
    assert done.returncode == 0 or "restore has been working on this host since" in done.stdout, done.stdout[-3000:]
    assert releases.run(SUMS).stdout == before


def test_controller_killed(releases, pushed, eventually, tmp_path):
    """At each step of a release: the next one carries it on."""
    steps = ("created", "started", "ready", "placed", "switched", "stopped")
    with releases.load() as report:
        for phase in steps:
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
                # A worker of Ansible's has a session of its own, and would wait for ever.
                _kill_all_with(f"TMPDIR={tmp_path}")
            done = releases.site.make("release", TAG=tag, WATCH="0")
            assert done.returncode == 0, done.stdout[-4000:]
            assert releases.version() == tag
            assert not releases.known()["by"]
    lossless(report)


def _kill_all_with(variable: str) -> None:
    """Kills this machine's processes that have such a line in their environment."""
    for file in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if variable.encode() in file.read_bytes().split(b"\0"):
                os.kill(int(file.parent.name), signal.SIGKILL)


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
        releases.begin(tag, watch=60)
        time.sleep(2)
        assert releases.run(f"{PROGRAM} cancel --run tests").stdout.strip() == '{"outcome": "cancelled"}'
    lossless(report)
    assert releases.live() == before and releases.version() == before["tag"]
    assert not releases.known()["by"]


def test_five_images_stay(releases, pushed):
    for _ in range(2):
        assert releases.release(pushed("good")).returncode == 0
    assert len(releases.images()) <= 5, releases.images()
    assert releases.live()["tag"] in releases.images()
    assert len(releases.run("docker ps -aq --filter label=com.docker.compose.service=api").stdout.split()) == 2
