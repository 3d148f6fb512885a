"""Docker and Compose on this host."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .settings import ReleaseError, Settings

LABEL = "comentarios.release"
MOVER = "comentarios-move"
PULLS = 3
# Service → folder of its configuration, and the command in its image that checks it.
CHECKS = {
    "edge": ("haproxy", "haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"),
    "prometheus": ("prometheus", "promtool", "check", "config", "/etc/prometheus/prometheus.yml"),
    "alertmanager": ("alertmanager", "amtool", "check-config", "/etc/alertmanager/alertmanager.yml"),
}


@dataclass(frozen=True)
class Container:
    """One container of the stack.

    Attributes:
        release: the identity of its release (``Record.identity``); empty without the label.
        restarts: how often the engine has restarted it.
    """

    id: str
    name: str
    release: str
    image: str
    state: str
    exit_code: int
    restarts: int
    address: str

    @property
    def runs(self) -> bool:
        return self.state == "running"


class Engine:
    def __init__(self, settings: Settings, pull_pause: float = 2):
        self._settings = settings
        self._pull_pause = pull_pause

    def docker(self, *arguments: str, timeout: float = 120, check: bool = True, lines: int = 1) -> str:
        """Runs the client and returns its output.

        Raises:
            ReleaseError: it failed, with the last lines that it wrote, or took longer than timeout seconds.
        """
        return self._run(["docker", *arguments], timeout, check, {}, lines)

    def compose(self, configuration: Path, identity: str, *arguments: str, timeout: float = 300) -> str:
        """Runs Compose with the files of a configuration, live or not."""
        command = ["docker", "compose", "--project-name", self._settings.project]
        command += ["--project-directory", str(self._settings.stack_dir), "--env-file", str(configuration / ".env")]
        for name in ("docker-compose.yml", "docker-compose.override.yml"):
            command += ["--file", str(configuration / name)]
        return self._run([*command, *arguments], timeout, True, {"API_RELEASE": identity})

    def services(self, configuration: Path, identity: str = "") -> dict[str, Any]:
        """The services of a configuration, as resolved by Compose."""
        found = json.loads(self.compose(configuration, identity, "config", "--format", "json"))
        services: dict[str, Any] = found["services"]
        return services

    def check(self, configuration: Path, service: str, image: str, user: str) -> str:
        """The error of the service's own program about its files in a configuration; empty if they are valid."""
        folder, *command = CHECKS[service]
        options = ["--rm", "--network", "none", "--user", user, "--entrypoint", command[0]]
        options += ["--env", "LIVE_RELEASE=none", "--volume", f"{configuration / folder}:/etc/{folder}:ro"]
        if service == "edge":
            options += ["--volume", f"{self._settings.edge_dir / 'certificates'}:/certificates:ro"]
        try:
            self.docker("run", *options, image, *command[1:], lines=5)
        except ReleaseError as error:
            return " ".join(str(error).split())
        return ""

    def containers(self, service: str) -> list[Container]:
        """The service's containers in every state, by name."""
        labels = (f"com.docker.compose.project={self._settings.project}", f"com.docker.compose.service={service}")
        filters = [part for label in labels for part in ("--filter", f"label={label}")]
        found = self.docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()
        if not found:
            return []
        # Containers that were just removed are left out.
        inspected = json.loads(self.docker("container", "inspect", *found, check=False) or "[]")
        return sorted((self._container(one) for one in inspected), key=lambda container: container.name)

    def logs(self, container: Container, lines: int = 15, timeout: float = 30) -> str:
        """The last lines of a container's log. If they cannot be read, the release does not fail."""
        command = ["docker", "logs", "--tail", str(lines), container.id]
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"(they cannot be read: {error})"
        return done.stdout.strip() or "(it wrote nothing)"

    def stop(self, containers: Iterable[Container]) -> None:
        """Stops containers in parallel; each finishes its open requests."""
        self._each(containers, "stop", "--time", "30")

    def start(self, containers: Iterable[Container]) -> None:
        self._each(containers, "start")

    def remove(self, containers: Iterable[Container]) -> None:
        self._each(containers, "rm", "--force")

    def _each(self, containers: Iterable[Container], *command: str) -> None:
        if names := [container.id for container in containers]:
            self.docker(*command, *names)

    def has_image(self, image: str) -> bool:
        # `image ls` does not support names with both a tag and a digest.
        return bool(self.docker("image", "inspect", "--format", "{{.Id}}", image, check=False).strip())

    def ensure_image(self, image: str) -> None:
        """Pulls the image unless it is on this host.

        Raises:
            ReleaseError: it is not available; the message names it.
        """
        if self.has_image(image):
            return
        for left in range(PULLS - 1, -1, -1):
            try:
                self.docker("pull", "--quiet", image, timeout=600)
                return
            except ReleaseError as error:
                # Retries help with tokens and connections, but not if the registry lacks the image.
                if not left or "not found" in str(error) or "manifest unknown" in str(error):
                    raise ReleaseError(f"{image} is neither on this host nor can it be pulled: {error}") from None
            time.sleep(self._pull_pause)

    def commit(self, image: str) -> str:
        """The commit of an image, from its label."""
        label = '{{index .Config.Labels "org.opencontainers.image.revision"}}'
        return self.docker("image", "inspect", "--format", label, image).strip()

    def tags(self, image: str) -> list[str]:
        """All images of the same repository on this host."""
        repository = image.rpartition(":")[0]
        return self.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository).split()

    def remove_image(self, image: str) -> None:
        """Removes an image unless it is in use."""
        self.docker("image", "rm", image, check=False)

    def _container(self, found: dict[str, Any]) -> Container:
        # Where the edge finds it.
        network = found["NetworkSettings"]["Networks"].get(f"{self._settings.project}_api") or {}
        return Container(
            id=found["Id"],
            name=found["Name"].lstrip("/"),
            release=found["Config"]["Labels"].get(LABEL, ""),
            image=found["Config"]["Image"],
            state=found["State"]["Status"],
            exit_code=found["State"]["ExitCode"],
            restarts=found["RestartCount"],
            address=network.get("IPAddress", ""),
        )

    def send_sighup(self, container: Container) -> None:
        """SIGHUP to a container's process: Prometheus and Alertmanager read their configuration again.

        Not by `docker kill`: whatever the signal, the engine takes the container for stopped by hand, and starts it
        neither when it ends nor when the host boots.
        """
        pid = int(self.docker("inspect", "--format", "{{.State.Pid}}", container.id))
        # 0: the container has just ended. It reads its configuration at the next start; kill(0) would signal ourselves.
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGHUP)

    def restart(self, container: Container) -> None:
        self.docker("restart", container.id)

    def move(self, image: str, step: str, source: str, target: str, told: Callable[[dict[str, Any]], None]) -> None:
        """Runs a step of a move between two databases (`comentarios.move` in the API's image).

        Args:
            source, target: names of the secrets with the databases' URLs; empty for SQLite.
            told: gets each line that the step prints; the step continues when this returns.

        Raises:
            ReleaseError: the step failed; why.
        """
        options = ["--rm", "--interactive", "--name", MOVER, "--no-healthcheck", "--read-only", "--cap-drop", "ALL"]
        options += ["--security-opt", "no-new-privileges:true", "--memory", "256m", "--pids-limit", "64"]
        # The API comes first.
        options += ["--cpu-shares", "128", "--volume", "/var/lib/comentarios:/var/lib/comentarios"]
        for name, secret in (("FROM", source), ("TO", target)):
            if secret:
                options += ["--volume", f"{self._settings.stack_dir / 'secrets' / secret}:/run/{name}:ro"]
                options += ["--env", f"{name}_FILE=/run/{name}"]
        # Of a release that was killed. Its step ends by itself, but maybe not yet.
        self.docker("rm", "--force", MOVER, check=False)
        command = ["docker", "run", *options, image, "python", "-m", "comentarios.move", step]
        pipe = subprocess.PIPE
        with (
            tempfile.TemporaryFile("w+") as said,
            subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=said, text=True, start_new_session=True
            ) as process,
        ):
            assert process.stdin and process.stdout
            try:
                for line in process.stdout:
                    told(json.loads(line))
                    with contextlib.suppress(BrokenPipeError):
                        # Unbuffered: closing the pipe must not fail in place of the step.
                        os.write(process.stdin.fileno(), b"\n")
            except BaseException:
                process.kill()
                self.docker("rm", "--force", MOVER, check=False)
                raise
            if process.wait():
                said.seek(0)
                last = (said.read().strip().splitlines() or [f"it ended with {process.returncode}"])[-1]
                if "No module named" in last:
                    last = "the live image is older than this verb: run `make release` first"
                raise ReleaseError(f"the comments cannot be moved: {last}")

    def _run(self, command: list[str], timeout: float, check: bool, extra: dict[str, str], shown: int = 1) -> str:
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                env={**os.environ, **extra},
                # A signal to the process group must not interrupt Compose: the release decides what is undone.
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise ReleaseError(f"`{_shown(command)}` did not end within {timeout:g} s") from None
        except OSError as error:
            raise ReleaseError(f"`{command[0]}` cannot be run: {error}") from None
        if check and done.returncode:
            lines = done.stderr.strip().splitlines() or [f"`{_shown(command)}` ended with {done.returncode}"]
            raise ReleaseError("\n".join(lines[-shown:]))
        return done.stdout


def _shown(command: list[str]) -> str:
    return " ".join(command[:4]) + (" …" if len(command) > 4 else "")


def identity(service: dict[str, Any]) -> str:
    """A digest of a service's image and settings."""
    return hashlib.sha256(json.dumps(service, sort_keys=True).encode()).hexdigest()[:12]
