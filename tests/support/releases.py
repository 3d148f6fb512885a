"""A host with releases, the load over its edge, and images to release."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

from common.paths import ROOT
from tests.support import replies
from tests.support.load import RATE, THREADS, TIMEOUT
from tests.support.site import Site

PROGRAM = "sudo comentarios-release"
LIVE, STAGED = "/opt/comentarios", "/opt/comentarios/staged/tests"


class Releases:
    """The releases of the first host, driven on the host itself where Ansible's part is not what is tried."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._pool = ThreadPoolExecutor()
        self._begun: dict[int, Future[subprocess.CompletedProcess[str]]] = {}
        # Not by the forwarded port: its proxy process is no part of the site.
        self.edge = f"http://{site.host.address}"

    def run(self, command: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        return self.site.ssh(command, timeout)

    def known(self) -> dict[str, Any]:
        done = self.run(f"{PROGRAM} list")
        assert done.returncode == 0, done.stderr
        return cast(dict[str, Any], json.loads(done.stdout))

    def last(self) -> dict[str, Any]:
        last: dict[str, Any] = self.known()["releases"][-1]
        return last

    def live(self) -> dict[str, Any]:
        known = self.known()
        live: dict[str, Any] = next(one for one in known["releases"] if one["number"] == known["live"])
        return live

    def version(self) -> str:
        """What answers through the edge."""
        with urllib.request.urlopen(f"{self.edge}/healthz", timeout=10) as reply:
            return str(json.load(reply)["version"])

    def stage(self, part: str, expression: str) -> None:
        """Stages a part of the live configuration, with a file of it changed by sed, as the part's role would."""
        top = part.split("/")[0]
        copied = f"sudo mkdir -p {STAGED} && sudo cp -a {LIVE}/{top} {STAGED}/"
        self._checked(f"{copied} && sudo sed -i '{expression}' {STAGED}/{part}")

    def begin(self, tag: str = "", watch: int = 0, ready: int = 60) -> int:
        """Begins a release of what is staged and of a tag; returns its number as soon as it has one."""
        before, running = self.last()["number"], self._pool.submit(self.release, tag, watch, ready)
        while (number := int(self.last()["number"])) == before:
            assert not running.done(), running.result().stderr
            time.sleep(0.5)
        self._begun[number] = running
        return number

    def end(self, number: int) -> subprocess.CompletedProcess[str]:
        """Waits until a release that was begun has ended, well or not."""
        return self._begun[number].result()

    def roll_back(self, to: str = "") -> subprocess.CompletedProcess[str]:
        given = f"--owner tests --run tests --watch-seconds 0 --to={to}"
        return self.run(f"{PROGRAM} rollback {given}")

    def release(self, tag: str = "", watch: int = 0, ready: int = 60) -> subprocess.CompletedProcess[str]:
        image = f" --image {self.live()['image'].rpartition(':')[0]}:{tag}" if tag else ""
        given = f"--owner tests --run tests --watch-seconds {watch} --ready-seconds {ready}{image}"
        return self.run(f"{PROGRAM} apply {given}")

    def images(self) -> list[str]:
        """Tags of the API's images on the host."""
        done = self._checked("docker image ls --format '{{.Repository}} {{.Tag}}'")
        return [line.split()[1] for line in done.stdout.splitlines() if re.match(r"\S+/comentarios-api ", line)]

    @contextmanager
    def load(self, rate: int = RATE, timeout: float = TIMEOUT, reads: int = 1) -> Iterator[dict[str, Any]]:
        """So many posts a second, and reads for each, while the block lasts; its report is there after the block."""
        command = [sys.executable, "-m", "tests.support.load", self.edge, *map(str, (rate, timeout, reads))]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        report: dict[str, Any] = {}
        try:
            time.sleep(2)
            yield report
            time.sleep(1)
        finally:
            process.terminate()
            report.update(json.loads(process.communicate(timeout=30)[0]))
        report["missing"] = self.missing(report["acknowledged"])

    def missing(self, acknowledged: dict[str, list[str]]) -> int:
        """How many comments that the API acknowledged it does not list."""
        assert len(acknowledged) == THREADS
        lost = 0
        for thread, texts in acknowledged.items():
            lost += len(set(texts) - set(replies.comments(self.edge, thread, timeout=30)))
        return lost

    def _checked(self, command: str) -> subprocess.CompletedProcess[str]:
        done = self.run(command)
        assert done.returncode == 0, done.stderr
        return done


def lossless(report: dict[str, Any]) -> None:
    """Nothing failed and nothing is missing; shows what failed, when and why."""
    shown = {name: report[name] for name in ("failed", "reasons", "failures", "missing", "p99")}
    assert sum(report["sent"].values()) > 200, report["sent"]
    assert not report["failed"] and not report["missing"], shown
