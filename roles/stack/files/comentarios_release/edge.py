"""The edge: its live release, its counters and its configuration."""

import re
import socket
import time
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from .engine import Engine
from .files import write
from .settings import ReleaseError, Settings
from .watch import Sample, latency, requests

# Backends with the replicas as servers, and the number of servers in each (role stack's haproxy.cfg.j2).
BACKENDS = ("api", "crowd")
SERVERS = 8
# HAProxy asks Docker's DNS twice a second.
DNS_SECONDS = 10.0
# A little more than the time that an old process has to end after a reload (hard-stop-after).
DRAIN_SECONDS = 95.0
START_SECONDS = 2.0
# How long writes wait at the most. A client that sends nothing for longer is disconnected (`timeout client`).
HOLD_SECONDS = 9
# Limit of an answer of HAProxy or a replica: a hundred times the usual size.
ANSWER_SECONDS = 30.0
ANSWER_BYTES = 8 * 2**20


class Edge:
    def __init__(self, settings: Settings, engine: Engine):
        self._settings = settings
        self._engine = engine

    @property
    def _live(self) -> Path:
        # HAProxy reads this file at start and at a reload. A running process is switched through its socket.
        return self._settings.stack_dir / "haproxy" / "live.cfg"

    def serving(self) -> str | None:
        """The identity of the release that gets the requests; None before the first one."""
        try:
            found = re.search(r"release-(\S+)", self._live.read_text())
        except FileNotFoundError:
            return None
        return found[1] if found else None

    def switch(self, identity: str) -> None:
        """Sends every new request to this release. Requests in flight are not affected.

        Raises:
            ReleaseError: the edge does not find the release's replicas.
        """
        name = f"release-{identity}"
        write(self._live, f"global\n    setenv LIVE_RELEASE {name}\n")
        if not self._runs():
            return
        servers = [f"{backend}/api{number}" for backend in BACKENDS for number in range(1, SERVERS + 1)]
        self._tell("; ".join(f"@1 set server {server} fqdn {name}" for server in servers))
        wanted = {one.address for one in self._engine.containers("api") if one.release == identity and one.runs}
        if not _until(DNS_SECONDS, lambda: self._addresses() == wanted):
            found = ", ".join(sorted(self._addresses())) or "none"
            raise ReleaseError(
                f"the edge finds the replicas of {name} at {found}, and the engine has them at "
                f"{', '.join(sorted(wanted)) or 'none'}: look at `docker compose logs edge`"
            )
        # A process from before a reload takes no more commands. It ends with its last connection.
        _until(DRAIN_SECONDS, lambda: len(self._processes()) < 2)

    def hold_writes(self) -> None:
        """New writes wait at the edge until `resume_writes`, or for some seconds if this program ends before.

        Raises:
            ReleaseError: the edge does not take the command.
        """
        # A process from before a reload takes no commands, so its clients' writes would not wait.
        _until(DRAIN_SECONDS, lambda: not self._runs() or len(self._processes()) < 2)
        self._hold_until(int(time.time()) + HOLD_SECONDS)

    def resume_writes(self) -> None:
        self._hold_until(0)

    def _hold_until(self, end: int) -> None:
        if not self._runs():
            return
        # HAProxy calls the command experimental, so its effect is checked.
        self._tell(f"experimental-mode on; @1 set var proc.held_until int({end})")
        if f"<{end}>" not in (said := self._tell("@1 get var proc.held_until")):
            raise ReleaseError(f"the edge cannot hold writes: {' '.join(said.split())}")

    def answers(self) -> str:
        """Empty if a request for /readyz through the edge succeeds; otherwise the URL and the answer."""
        url = "http://127.0.0.1/readyz"
        status, body = get(url)
        # The API's own body: an edge may answer 200 itself. With a domain, port 80 only redirects to HTTPS, which
        # shows that the edge works.
        if (status == 200 and '"status":"SUCCESS"' in body) or (self._settings.domain and status in range(300, 400)):
            return ""
        return f"{url} answered {status or 'nothing'}: {body}"

    def sample(self) -> Sample | None:
        """The counters of the edge since its start or last reload, and of the live replicas since their start.

        None if the edge does not answer.
        """
        try:
            answered, failed, refused = requests(self._tell("@1 show stat"))
            now = time.monotonic()
            addresses = self._addresses()
        except ReleaseError:
            return None
        metrics = (get(f"http://{address}:8000/metrics", limit=None) for address in sorted(addresses))
        return Sample(answered, failed, latency(body for status, body in metrics if status == 200), refused, now)

    def reload(self) -> None:
        """Reloads the running edge without closing a connection.

        Raises:
            ReleaseError: HAProxy refuses the configuration; it goes on with the one before.
        """
        if not self._runs():
            return
        # The new process starts with the addresses of the old one.
        state = self._tell("@1 show servers state").strip().splitlines()
        known = [line for line in state if line.startswith(("1", "#")) or line.split()[4:5] != ["-"]]
        addresses = self._live.with_name("servers.state")
        write(addresses, "\n".join([*known, ""]))
        try:
            said = self._tell("reload")
        finally:
            # Only for this process: after a boot, replicas have other addresses. Another reload may have removed it.
            addresses.unlink(missing_ok=True)
        if not said.startswith("Success=1"):
            reasons = [line for line in said.splitlines() if "[ALERT]" in line] or said.splitlines()[-1:]
            raise ReleaseError(f"the edge refuses its configuration: {' '.join(reasons)}")

    def _runs(self) -> bool:
        if not any(one.runs for one in self._engine.containers("edge")):
            return False
        # It may have read live.cfg already, and make its socket a moment later.
        _until(START_SECONDS, self._settings.edge_socket.exists)
        return True

    def _addresses(self) -> set[str]:
        """The addresses that the edge sends requests to."""
        fields = [line.split() for line in self._tell("@1 show servers state api").splitlines() if " api " in line]
        return {one[4] for one in fields if one[3].startswith("api") and one[4] != "-"}

    def _processes(self) -> list[str]:
        """The process ids of the edge's workers: after a reload, also the old ones with open connections."""
        return re.findall(r"^(\d+)\s+worker", self._tell("show proc"), re.MULTILINE)

    def _tell(self, commands: str) -> str:
        """Sends a command to HAProxy's master process, whose socket is on the host.

        Raises:
            ReleaseError: it does not answer.
        """
        path = str(self._settings.edge_socket)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ANSWER_SECONDS)
                _connect(connection, path)
                connection.sendall(commands.encode() + b"\n")
                connection.shutdown(socket.SHUT_WR)
                return _read(connection.recv, ANSWER_SECONDS).decode()
        except OSError as error:
            raise ReleaseError(f"the edge does not answer on {path}: {error.strerror or error}") from None


def _connect(connection: socket.socket, path: str) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return connection.connect(path)
        except ConnectionRefusedError:
            # At start and during a reload, the process does not listen for a moment.
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


def _read(read: Callable[[int], bytes], seconds: float) -> bytes:
    """Reads to the end.

    Raises:
        OSError: it has more than ANSWER_BYTES, or takes longer than these seconds in total.
    """
    end, answer = time.monotonic() + seconds, bytearray()
    while part := read(65536):
        answer += part
        if len(answer) > ANSWER_BYTES:
            raise OSError(f"more than {ANSWER_BYTES // 2**20} MiB came")
        if time.monotonic() > end:
            raise TimeoutError(f"the end did not come within {seconds:g} s")
    return bytes(answer)


def _until(seconds: float, holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def get(url: str, timeout: float = 2, limit: int | None = 200) -> tuple[int, str]:
    """Status and body of a GET, or 0 and the reason for the failure.

    Args:
        timeout: seconds, for the connection and for the whole body.
        limit: characters of the body that are wanted, in one line; None for all of it, as it is.
    """
    parts = urlsplit(url)
    with closing(HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)) as connection:
        try:
            connection.request("GET", parts.path)
            reply = connection.getresponse()
            body = _read(reply.read1, timeout).decode(errors="replace")
            return reply.status, body if limit is None else " ".join(body.split())[:limit]
        except (OSError, HTTPException) as error:
            return 0, str(error)
