"""The API's containers, which are stopped while the database is swapped."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE

# Role stack installs it beside this program.
from comentarios_release.edge import get

from .settings import BackupError

RELEASE = "/usr/local/sbin/comentarios-release"
PORT = 8000
READY_SECONDS = 60


class Stack:
    def release(self) -> str:
        """The tag of the live release; empty if there is none."""
        try:
            known = json.loads(self._run(RELEASE, "list"))
        except (BackupError, ValueError):
            return ""
        return next((str(one["tag"]) for one in known["releases"] if one["number"] == known["live"]), "")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Blocks releases. A child process holds the lock; it ends when its input does, and so with us.

        Raises:
            BackupError: somebody releases now; their name.
        """
        command = [RELEASE, "hold", "--owner=restore"]
        try:
            holder = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
        except OSError as error:
            raise BackupError(f"{RELEASE} hold failed: {error}") from None
        with holder:
            assert holder.stdout and holder.stderr
            if not holder.stdout.readline():
                raise BackupError(f"{RELEASE} hold failed: {_last(holder.stderr.read())}")
            yield

    def stop(self) -> list[str]:
        """Stops the API's containers after their open requests; returns those that ran."""
        running = self._run("docker", "ps", "--quiet", "--filter", "label=com.docker.compose.service=api").split()
        if running:
            self._run("docker", "stop", *running)
        return running

    def start(self, containers: list[str]) -> None:
        """Starts the containers, and waits until the edge reaches one.

        Raises:
            BackupError: none is ready within a minute.
        """
        if not containers:
            return
        self._run("docker", "start", *containers)
        end = time.monotonic() + READY_SECONDS
        while not self._ready(containers):
            if time.monotonic() > end:
                raise BackupError("the API is not ready a minute after its start: `make logs SERVICE=api`")
            time.sleep(0.5)

    def _ready(self, containers: list[str]) -> bool:
        network = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        addresses = [self._run("docker", "inspect", "--format", network, one).split() for one in containers]
        return all(address and get(f"http://{address[0]}:{PORT}/readyz")[0] == 200 for address in addresses)

    @staticmethod
    def _run(*command: str) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BackupError(f"{' '.join(command[:2])} failed: {error}") from None
        if done.returncode:
            raise BackupError(f"{' '.join(command[:2])} failed: {_last(done.stderr)}")
        return done.stdout


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1]
