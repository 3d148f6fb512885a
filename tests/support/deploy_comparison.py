"""Releases and rollbacks under load, compared with two other ways to replace containers behind the same edge."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from tests.support import variants
from tests.support.releases import Releases
from tests.support.replies import OTHER_BODY

# The other ways wait for the engine's check, which a host does without.
CHECKED = "{services: {api: {healthcheck: !override {start_period: 20s, start_interval: 1s}}}}"
COLUMNS = ("way", "runs", "requests", "failed GET", "failed POST", OTHER_BODY, "comments missing", "median seconds")


def table(releases: Releases, count: int) -> tuple[str, bool]:
    """The table, and whether no release and no rollback lost anything."""
    here, good = releases.site.target, releases.live()["tag"]
    tags = [variants.push(here, good, "good") for _ in range(2)]
    rows = {
        "release": measure(releases, count, lambda turn: _release(releases, tags[turn % 2])),
        "rollback": measure(releases, count, lambda _: _back(releases)),
        "`docker compose up -d`": measure(releases, count, lambda turn: _plain(releases, tags[turn % 2])),
        "scale up, wait healthy, stop old": measure(releases, count, lambda turn: _scaled(releases, tags[turn % 2])),
    }
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for way, (sent, gets, posts, others, missing, seconds) in rows.items():
        lines.append(f"| {way} | {count} | {sent} | {gets} | {posts} | {others} | {missing} | {seconds:.1f} |")
    # The host is left as a release leaves it, with the image that it had.
    releases.release(good)
    variants.remove(tags)
    return "\n".join(lines) + "\n", not any(sum(rows[way][1:5]) for way in ("release", "rollback"))


def measure(releases: Releases, count: int, run: Callable[[int], None]) -> tuple[int, int, int, int, int, float]:
    """So many runs: requests, failed GET, failed POST, of both with another body, missing comments, median seconds."""
    reports, seconds = [], []
    for turn in range(count):
        with releases.load() as report:
            begin = time.monotonic()
            run(turn)
            seconds.append(time.monotonic() - begin)
        reports.append(report)
    sent = sum(sum(report["sent"].values()) for report in reports)
    gets, posts = (sum(report["failed"].get(kind, 0) for report in reports) for kind in ("GET", "POST"))
    others, missing = (sum(report[name] for report in reports) for name in ("other_body", "missing"))
    return sent, gets, posts, others, missing, statistics.median(seconds)


def _release(releases: Releases, tag: str) -> None:
    done = releases.release(tag)
    if done.returncode:
        raise SystemExit(f"✗ {done.stderr}")


def _back(releases: Releases) -> None:
    good = [one for one in releases.known()["releases"] if one["outcome"] == "good" and one["kind"] == "release"]
    to = next(one for one in reversed(good) if one["tag"] != releases.live()["tag"])
    done = releases.roll_back(str(to["number"]))
    if done.returncode:
        raise SystemExit(f"✗ {done.stderr}")


def _plain(releases: Releases, tag: str) -> None:
    _compose(releases, tag, "up --detach --no-deps --wait api")


def _scaled(releases: Releases, tag: str) -> None:
    """docker-rollout's way: twice as many, wait until the new ones are healthy, then stop the old ones."""
    listed = "docker ps --quiet --filter label=com.docker.compose.service=api"
    old = releases.run(listed).stdout.split()
    _compose(releases, tag, f"up --detach --no-deps --no-recreate --wait --scale api={2 * len(old)} api")
    names = " ".join(old)
    done = releases.run(f"docker stop {names} && docker rm {names}")
    if done.returncode:
        raise SystemExit(f"✗ {done.stderr}")


def _compose(releases: Releases, tag: str, command: str) -> None:
    image = f"$(sed -n 's/^API_IMAGE=\\(.*\\):.*/\\1/p' /opt/comentarios/.env):{tag}"
    files = "--file docker-compose.yml --file docker-compose.override.yml --file -"
    begin = f"cd /opt/comentarios && echo '{CHECKED}'"
    done = releases.run(f'{begin} | sudo API_IMAGE="{image}" docker compose {files} {command}')
    if done.returncode:
        raise SystemExit(f"✗ {done.stderr}")
