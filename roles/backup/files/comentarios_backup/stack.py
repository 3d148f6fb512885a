"""The API's containers, which stand still while the database is swapped."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request

from .settings import BackupError, Settings

RELEASE = "/usr/local/sbin/comentarios-release"


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
        end = time.monotonic() + 60
        while not self._ready(containers):
            if time.monotonic() > end:
                raise BackupError("the API is not ready a minute after its start: `make logs SERVICE=api`")
            time.sleep(0.5)

    def _ready(self, containers: list[str]) -> bool:
        network = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
        for container in containers:
            address = self._run("docker", "inspect", "--format", network, container).split()
            try:
                with urllib.request.urlopen(f"http://{address[0]}:8000/readyz", timeout=2) as reply:
                    json.load(reply)
            except (OSError, ValueError, IndexError, urllib.error.URLError):
                return False
        return True

    @staticmethod
    def _run(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise BackupError(f"{' '.join(command[:2])} failed: {last}")
        return done.stdout
