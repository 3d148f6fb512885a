"""The API's containers, which stand still while the database is swapped."""

from __future__ import annotations

import http.client
import subprocess
import time

from .settings import BackupError, Settings

RELEASE = "/usr/local/sbin/comentarios-release"
PORT = 8000
READY_SECONDS = 60


class Stack:
    def __init__(self, settings: Settings):
        self._settings = settings

    def release(self) -> str:
        """Tag of the API that is live; empty where none is."""
        file = self._settings.stack_dir / ".env"
        lines = file.read_text().splitlines() if file.exists() else []
        return next((line.rpartition(":")[2] for line in lines if line.startswith("API_IMAGE=")), "")

    def lock(self, token: str) -> None:
        """Keeps releases away meanwhile.

        Raises:
            BackupError: somebody releases now; their name.
        """
        self._run(RELEASE, "lock", "--owner=restore", f"--token={token}", "--abandoned=", "--seconds=3600")

    def unlock(self, token: str) -> None:
        self._run(RELEASE, "unlock", f"--token={token}")

    def stop(self) -> list[str]:
        """Stops the API's containers once the requests under way are over; returns those that ran."""
        running = self._run("docker", "ps", "--quiet", "--filter", "label=com.docker.compose.service=api").split()
        if running:
            self._run("docker", "stop", *running)
        return running

    def start(self, containers: list[str]) -> None:
        """Starts them again, and waits until the edge gets through to one.

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
        return all(address and _answers(address[0]) for address in addresses)

    @staticmethod
    def _run(*command: str) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BackupError(f"{' '.join(command[:2])} failed: {error}") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise BackupError(f"{' '.join(command[:2])} failed: {last}")
        return done.stdout


def _answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, PORT, timeout=2)
    try:
        connection.request("GET", "/readyz")
        # Its status alone: of what a container says, nothing is read here without a bound.
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
