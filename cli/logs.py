"""``make logs``: follows the logs of the stack on every host, with filters."""

import os
import shlex
import subprocess
import sys
import threading

from cli import host
from cli.targets import Target
from common.errors import CommandError

# The API and the edge write JSON; Prometheus, Alertmanager and Grafana write level=…
LEVELS = ("debug", "info", "warning", "error")
WORDS = {
    "debug": "debug|dbug",
    "info": "info",
    "warning": "warn|warning",
    "error": "error|eror|critical|crit|fatal|panic",
}
ERASE = "\x1b[2K"
COMPOSE = ("docker", "compose", "--project-directory", "/opt/comentarios")


def command(
    service: str = "",
    level: str = "",
    request: str = "",
    since: str = "",
    grep: str = "",
    follow: str = "",
    *,
    colour: bool = False,
) -> str:
    """The command for a host's shell. It fails when the logs cannot be read, but not when no line matches."""
    filters = []
    if level:
        words = "|".join(WORDS[one] for one in LEVELS[LEVELS.index(level) :])
        filters.append(["-iE", "-e", rf'(level|lvl)"?[=:] ?"?({words})\b'])
    if request:
        # `request_id` in the API's lines, `id` in the edge's.
        filters.append(["-E", "-e", rf'id": ?"{request.replace(".", "[.]")}"'])
    if grep:
        filters.append(["-iF", "-e", grep])
    # The engine does not know days.
    since = f"{int(since[:-1]) * 24}h" if since.endswith("d") else since
    # With a filter all lines that are kept; otherwise the newest ones.
    begin = ["--since", since] if since else [] if filters else ["--tail", "100"]
    following = [] if follow == "no" else ["--follow"]
    services = ["--", service] if service else []
    plain = [] if colour else ["--ansi", "never"]
    parts = [shlex.join([*COMPOSE, *plain, "logs", *following, *begin, *services])]
    parts += [f"{{ {shlex.join(['grep', '--line-buffered', *one])} || [ $? -eq 1 ]; }}" for one in filters]
    return shlex.join(["bash", "-c", f"set -o pipefail; {' | '.join(parts)}"])


def logs(
    target: Target,
    host_: str = "",
    service: str = "",
    level: str = "",
    request: str = "",
    since: str = "",
    grep: str = "",
    follow: str = "",
) -> int:
    """Follows the logs of all hosts, or of one, until Ctrl-C; with several, each line has its host's name."""
    found = host.several(target, host_)
    asked = command(service, level, request, since, grep, follow, colour=sys.stdout.isatty())
    # With a terminal on the host, following ends with the connection; without one, at the next line.
    readers = [_reader(host.ssh(target, one, asked, "-tt")) for one in found]
    width = max(len(one.name) for one in found)
    enough = threading.Event()
    threads = []
    for one, reader in zip(found, readers, strict=True):
        prefix = f"{one.name:<{width}}  " if len(found) > 1 else ""
        threads.append(threading.Thread(target=_print, args=(reader, prefix, readers, enough), daemon=True))
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        return 0
    finally:
        for reader in readers:
            reader.terminate()
    if enough.is_set():
        return 0
    failed = [one.name for one, reader in zip(found, readers, strict=True) if reader.wait()]
    if failed:
        raise CommandError(f"{', '.join(failed)}: the logs cannot be read (see above and `make status`)")
    return 0


def _reader(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace"
    )


def _print(
    reader: subprocess.Popen[str], prefix: str, readers: list[subprocess.Popen[str]], enough: threading.Event
) -> None:
    assert reader.stdout
    try:
        for line in reader.stdout:
            # Compose writes a code that erases the line, even without a terminal.
            print(f"{prefix}{line.rstrip().replace(ERASE, '')}", flush=True)
    except BrokenPipeError:
        # The reader has closed the pipe: `make logs | head`.
        enough.set()
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        for one in readers:
            one.terminate()
