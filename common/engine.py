"""The Docker Engine of this machine, which is installed and started if necessary and possible."""

import fcntl
import getpass
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common import apt, files
from common.docker import docker
from common.errors import CommandError
from common.paths import STATE
from common.progress import step

SOCKET = Path("/var/run/docker.sock")
# Of an engine that we start directly.
LOG, RECORD = STATE / "engine" / "logs" / "dockerd.log", STATE / "engine" / "dockerd.pid"
# The engine's own. Processes that use the engine hold a shared lock on it, which ends with them however they end.
PIDFILE = Path("/var/run/docker.pid")
_in_use: list[IO[str]] = []
INSTALL = "install Docker Engine (`apt-get install docker.io` as root), start it, then run the same command again"


def ensure() -> None:
    """Makes sure that a Docker Engine answers, and that no other process stops it before this one ends.

    As root on Debian or Ubuntu, it is installed from the distribution and started: by systemd if that is process 1,
    otherwise directly, until ``stop``.

    Raises:
        CommandError: there is none, and this process may not install or start one.
    """
    _use()
    if answers():
        return
    if os.environ.get("DOCKER_HOST"):
        raise CommandError(
            f"no Docker Engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}: start it, or unset DOCKER_HOST"
        )
    if denied():
        raise CommandError(
            f"the Docker Engine runs, but {getpass.getuser()} may not use it: "
            f"`sudo usermod -aG docker {getpass.getuser()}`, then log in again"
        )
    if not (shutil.which("dockerd") and shutil.which("docker")):
        _install()
    if os.geteuid() != 0:
        raise CommandError(
            "no Docker Engine answers: start it (`sudo systemctl start docker`), then run the same command again"
        )
    with step("starting the Docker Engine"):
        if Path("/run/systemd/system").exists():
            subprocess.run(["systemctl", "start", "docker"], check=False, capture_output=True)
        else:
            _start()
        for _ in range(120):
            if answers():
                _use()
                return
            time.sleep(0.5)
    raise CommandError(f"the Docker Engine does not answer within 60 s: see {LOG} or its journal")


@contextmanager
def running() -> Iterator[None]:
    """Runs an engine for the block; stops it afterwards if it was started for it."""
    ensure()
    try:
        yield
    finally:
        stop()


def stop() -> None:
    """Stops the engine if ``ensure`` started it directly, no other process uses it and it has no containers."""
    while _in_use:
        _in_use.pop().close()
    alone = RECORD.exists() and _lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
    if not alone:
        return
    with alone:
        try:
            if docker("ps", "--all", "--quiet", timeout=30).split():
                return
        except CommandError:
            # One that does not answer may have containers.
            return
        pid = int(RECORD.read_text())
        if _is_dockerd(pid):
            os.kill(pid, signal.SIGTERM)
            for _ in range(300):
                if not _is_dockerd(pid):
                    break
                time.sleep(0.1)
        RECORD.unlink()


def _use() -> None:
    """Holds the lock until ``stop`` or the end of this process; waits for a process that is stopping the engine."""
    if file := _lock(fcntl.LOCK_SH):
        _in_use.append(file)


def _lock(kind: int) -> IO[str] | None:
    """The engine's file, locked; None if no engine of this machine runs, or others hold the lock."""
    try:
        file = PIDFILE.open()
    except OSError:
        return None
    try:
        fcntl.flock(file, kind)
    except BlockingIOError:
        file.close()
        return None
    return file


def answers() -> bool:
    """Whether a Docker Engine answers."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def denied() -> bool:
    """Whether this user has no access to the engine's socket."""
    return SOCKET.is_socket() and not os.access(SOCKET, os.R_OK | os.W_OK)


def _install() -> None:
    if not apt.may_install():
        raise CommandError(f"no Docker Engine answers: {INSTALL}")
    with step("installing the Docker Engine (docker.io)"):
        try:
            # Since Debian 13, the client is a separate package, which docker.io only recommends.
            apt.install("docker.io", "iptables", where_known=("docker-cli",))
        except CommandError as error:
            raise CommandError(f"{error}; {INSTALL}") from None


def _start() -> None:
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("a") as output:
        process = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    files.write(RECORD, str(process.pid))


def _is_dockerd(pid: int) -> bool:
    try:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return name == "dockerd" and state != "Z"
