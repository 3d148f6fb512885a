"""Sends the host's logs to S3, where they outlive the host."""

import gzip
import subprocess
import tempfile
import time
from typing import Any

# Role stack installs it beside this program.
from comentarios_release.files import write

from .settings import BackupError, Settings
from .store import Store

CONTAINERS = ("docker", "ps", "--all", "--filter=label=com.docker.compose.service", "--format={{.Names}}")
JOURNAL = ("journalctl", "--quiet", "--no-pager", "--output=short-iso", "--utc")
# Seconds of the past that a host sends at first.
FIRST = 3600


def send(settings: Settings) -> dict[str, Any]:
    """Sends the lines since the last time; returns the object's name, empty if no time has passed.

    Raises:
        BackupError: it cannot be read or sent. The next time begins where this one did.
    """
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    reached = settings.work_dir / "logs.reached"
    end = int(time.time())
    begin = int(reached.read_text()) if reached.exists() else end - FIRST
    if begin >= end:
        # The clock was set back, or this is the same second.
        return {"name": "", "size": 0}
    name = f"{settings.logs}{_stamp(begin)}-{_stamp(end)}.gz"
    # Without a name, so that nothing stays on a full disk, and two runs do not write into one file.
    with tempfile.TemporaryFile(dir=settings.work_dir) as packed:
        with gzip.open(packed, "wb") as file:
            # Without Compose, which may end before it has read everything on a busy machine.
            for container in _containers():
                command = ["docker", "logs", f"--since={begin}", f"--until={end}", container]
                _copy(command, f"{container.partition('-')[2]}  | ".encode(), file)
            _copy([*JOURNAL, f"--since=@{begin}", f"--until=@{end}"], b"journal  | ", file)
        size = packed.tell()
        packed.seek(0)
        Store(settings).send(packed, name)
    write(reached, str(end))
    return {"name": name, "size": size}


def _containers() -> list[str]:
    listed = subprocess.run(CONTAINERS, capture_output=True, text=True)
    if listed.returncode:
        raise BackupError(f"docker does not list the containers: {listed.stderr.strip()}")
    return sorted(listed.stdout.split())


def _copy(command: list[str], before: bytes, file: gzip.GzipFile) -> None:
    """Writes a command's lines one by one, since they may not fit into memory."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout
        for line in process.stdout:
            file.write(before + line)
    if process.returncode:
        raise BackupError(f"{command[0]} cannot read the logs: exit status {process.returncode}")


def _stamp(seconds: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
