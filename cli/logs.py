"""``make logs``: follows the logs of all hosts, or shows those that a removed host has sent to S3; with filters."""

import contextlib
import gzip
import os
import shlex
import shutil
import subprocess
import sys
import threading
import zlib
from typing import IO, cast

from cli import host, inputs
from cli.targets import Target
from cli.terraform import AWS_ERRORS, account, client
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
    filters = _filters(level, request, grep)
    # The engine does not know days.
    if since == "yesterday":
        since = f"{inputs.parse_time('SINCE', since):%Y-%m-%dT%H:%M:%SZ}"
    since = f"{int(since[:-1]) * 24}h" if since.endswith("d") else since
    # With a filter all lines that are kept; otherwise the newest ones.
    begin = ["--since", since] if since else [] if filters else ["--tail", "100"]
    following = [] if follow == "no" else ["--follow"]
    services = ["--", service] if service else []
    plain = [] if colour else ["--ansi", "never"]
    return _piped(f"{host.COMPOSE} {shlex.join([*plain, 'logs', *following, *begin, *services])}", filters)


def _piped(source: str, filters: list[list[str]]) -> str:
    parts = [source, *(f"{{ {shlex.join(['grep', '--line-buffered', *one])} || [ $? -eq 1 ]; }}" for one in filters)]
    return shlex.join(["bash", "-c", f"set -o pipefail; {' | '.join(parts)}"])


def _filters(level: str, request: str, grep: str) -> list[list[str]]:
    """The arguments of each grep that a line must pass."""
    filters = []
    if level:
        words = "|".join(WORDS[one] for one in LEVELS[LEVELS.index(level) :])
        filters.append(["-iE", "-e", rf'(level|lvl)"?[=:] ?"?({words})\b'])
    if request:
        # `request_id` in the API's lines, `id` in the edge's.
        filters.append(["-E", "-e", rf'id": ?"{request.replace(".", "[.]")}"'])
    if grep:
        filters.append(["-iF", "-e", grep])
    return filters


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
    """Follows the logs of all hosts, or of one, until Ctrl-C; with several, each line has its host's name.

    For a host that does not run, it shows the logs that the host has sent to S3.

    Raises:
        CommandError: there is no host, or the logs of one cannot be read.
    """
    if host_ and host_ not in (one.name for one in host.hosts(target)):
        return _gone(target, host_, service, since, _filters(level, request, grep))
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


def _gone(target: Target, name: str, service: str, since: str, filters: list[list[str]]) -> int:
    """Prints the logs that a host of this name, or an instance of this id, has sent to S3, from SINCE on.

    Raises:
        CommandError: S3 has no logs of it (the message names the hosts that have some), or they are corrupt.
    """
    if service:
        filters = [["-E", "-e", rf"^{service}(-[0-9]+)? +\|"], *filters]
    s3 = client(target, "s3")
    bucket = target.names.backup_bucket(account(target), s3.meta.region_name)
    # Sorts before every name when it is empty.
    begin = f"{inputs.parse_time('SINCE', since):%Y%m%dT%H%M%SZ}" if since else ""
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="logs/")
        # logs/<name>.<instance>/<begin>-<end>.gz
        kept = [tuple(one["Key"].split("/")[1:]) for page in pages for one in page.get("Contents", [])]
        known = sorted({host_ for host_, _ in kept})
        of = {one for one in known if name in (one, *one.rsplit(".", 1))}
        if not of:
            running = ", ".join(one.name for one in host.hosts(target)) or "none"
            raise CommandError(
                f"HOST={name} is not known: running: {running}; with logs in S3: {', '.join(known) or 'none'}"
            )
        wanted = sorted((span, one) for one, span in kept if one in of and span.partition("-")[2] > f"{begin}.gz")
        for span, one in wanted if since or filters else wanted[-1:]:
            body = s3.get_object(Bucket=bucket, Key=f"logs/{one}/{span}")["Body"]
            # Before the output of the child process.
            sys.stdout.flush()
            shown = subprocess.Popen(shlex.split(_piped("cat", filters)), stdin=subprocess.PIPE)
            # In pieces: a compromised host may have sent more than fits into memory.
            with contextlib.suppress(BrokenPipeError), gzip.open(body) as lines, shown:
                shutil.copyfileobj(lines, cast(IO[bytes], shown.stdin))
            if shown.returncode:
                # The reader has closed the pipe: `make logs | head`.
                break
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise CommandError(f"s3://{bucket}/logs/{one}/{span} is corrupt: {error}") from None
    except AWS_ERRORS as error:
        raise CommandError(f"the logs in s3://{bucket} cannot be read: {str(error).splitlines()[0]}") from None
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
