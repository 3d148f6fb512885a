"""The sandbox's own process: the AWS APIs, the metadata service, and the loop that follows them."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from common import files, keys, ports
from common.config import Config
from common.errors import CommandError, last_line
from common.paths import ROOT
from sandbox import overview

if TYPE_CHECKING:
    from sandbox.aws import Apis

START_SECONDS = 300.0
FOLLOW_SECONDS = 5.0  # how often to look for changes that no request announced
# Terraform's requests come in dozens: one round for several of them.
SETTLE_SECONDS = 0.5


def serve(config: Config) -> None:
    """Runs until SIGTERM, on the network's gateway address only."""
    # Slow imports that only this function needs.
    from werkzeug.serving import make_server

    from sandbox import hosts
    from sandbox.aws import Apis, Handler
    from sandbox.metadata import Metadata

    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    _claim(config)
    apis = Apis(config.state / "aws.journal", keys.load(config.state), f"{config.gateway}:{config.aws_port}")
    hosts.recognise(config, apis.machine.instances(), apis.journal.count)
    metadata = Metadata(config, lambda: apis.journal.count)
    for port, application in ((config.aws_port, apis), (config.metadata_port, metadata)):
        server = make_server(config.gateway, port, application, threaded=True, request_handler=Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    follower = Follower(config, apis)
    while True:
        announced = apis.changed.wait(FOLLOW_SECONDS)
        if announced:
            time.sleep(SETTLE_SECONDS)
        apis.changed.clear()
        if not config.state.exists():  # the clone was deleted without `make down`
            os._exit(0)
        try:
            for line in follower.follow(announced):
                print(line, flush=True)
        except Exception:
            # A host that cannot be created now (its port is in use, say) is tried again; `sync` shows the reason.
            traceback.print_exc()
            time.sleep(1)


class Follower:
    """Keeps hosts, ECR's store and load balancers in step with the APIs."""

    def __init__(self, config: Config, apis: "Apis") -> None:
        self._config, self._apis = config, apis
        self._attached: set[tuple[str, str]] = set()
        self._removed: frozenset[str] = frozenset()
        # What was found before the last complete round.
        self._done: object = None

    def follow(self, announced: bool) -> Iterator[str]:
        """Yields a line for each change. Does nothing if nothing was announced and nothing has changed by itself.

        A whole round takes a tenth of a second of CPU, and a sandbox that is left alone has one every few seconds.
        """
        from sandbox import elb, hosts, images, registry

        host_image = images.chosen(self._config).get("host")
        found = (host_image, hosts.states(self._config), registry.tags(self._config))
        # Whether a load balancer's target passes its check changes without a request.
        if not announced and found == self._done and not elb.made(self._config):
            return
        self._done = None
        deleted = self._apis.machine.deleted()
        if host_image:
            yield from hosts.sync(self._config, host_image, deleted.volumes - self._removed, self._attached)
            self._removed = deleted.volumes
        registry.sync(self._config, deleted.tags)
        yield from elb.sync(self._config, self._apis.machine.certificate)
        self._done = found


def answers(config: Config) -> bool:
    """Whether the APIs answer and accept this sandbox's key."""
    return overview.ask(config) is not None


def running(config: Config) -> bool:
    """Whether the process runs."""
    return _pid(config) is not None


def start(config: Config) -> None:
    """Starts the process unless it runs.

    Raises:
        CommandError: it ended, or does not answer within START_SECONDS; the last line of its log. Or a port is not the
            one that the hosts know.
    """
    record = config.state / "ports"
    chosen = f"SANDBOX_AWS_PORT={config.aws_port} SANDBOX_METADATA_PORT={config.metadata_port}"
    known = record.read_text() if record.exists() else chosen
    if known != chosen:
        raise CommandError(f"the hosts know the sandbox's APIs by {known}: set both, or run `make down` first")
    if _pid(config) and answers(config):
        return
    stop(config)
    ports.require_free(config.gateway, config.aws_port, "SANDBOX_AWS_PORT")
    ports.require_free(config.gateway, config.metadata_port, "SANDBOX_METADATA_PORT")
    log(config).parent.mkdir(parents=True, exist_ok=True)
    with log(config).open("a") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sandbox", "serve"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # It replays its journal first, which takes time. One that an interrupted start left may be ahead of it.
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and (process.poll() is None or _pid(config)):
        if answers(config):
            files.write(record, chosen)
            return
        time.sleep(0.2)
    last = last_line(log(config).read_text()).removeprefix("✗ ")
    raise CommandError(f"the sandbox's AWS APIs did not start: {last} (whole log: {log(config)})")


def stop(config: Config) -> None:
    """Ends the process if it runs."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if pid := _pid(config):
            os.kill(pid, number)
        for _ in range(50):
            if not _pid(config):
                return
            time.sleep(0.1)


def log(config: Config) -> Path:
    """The file with what the process prints."""
    return config.state / "logs" / "server.log"


def _pid_file(config: Config) -> Path:
    return config.state / "server.pid"


def _claim(config: Config) -> None:
    """Writes this process's id, and holds a lock on the file until it ends: two would spoil the journal.

    Raises:
        CommandError: another process has it.
    """
    descriptor = os.open(_pid_file(config), os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandError("the sandbox's AWS APIs are already running") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())


def _pid(config: Config) -> int | None:
    """The process's id; None if it does not run, or if the number belongs to another process by now."""
    try:
        pid = int(_pid_file(config).read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return pid if command[1:4] == [b"-m", b"sandbox", b"serve"] and state != "Z" else None
