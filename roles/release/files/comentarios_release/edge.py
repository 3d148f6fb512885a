"""The edge: which release it sends requests to, what it measures, and its configuration."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import IO

from .engine import Engine
from .files import write
from .settings import ReleaseError, Settings
from .watch import Sample, parse

# Long enough for every client that is busy to have had one more reply, and so to have closed its connection.
CLOSING_SECONDS = 2.0
# Until connections that were made before the hold have been accepted.
ACCEPT_SECONDS = 0.1
# Who asks for a connection meanwhile is not answered, and asks again after a second. The kernel ends the hold by
# itself, whatever becomes of this process.
HOLD = """
table inet comentarios_release
delete table inet comentarios_release
table inet comentarios_release {
    set held {
        type inet_service
        flags timeout
        elements = { 80 timeout 3s, 443 timeout 3s }
    }
    chain hold {
        type filter hook prerouting priority raw
        tcp flags & (syn | ack) == syn tcp dport @held drop
    }
}
"""


class Edge:
    def __init__(self, settings: Settings, engine: Engine):
        self._settings = settings
        self._engine = engine

    @property
    def _live(self) -> Path:
        # Caddy reads it anew for every request: a switch is this one file replaced, without a reload.
        return self._settings.stack_dir / "caddy" / "live"

    def target(self) -> str | None:
        """Identity of the release that gets the requests; None before the first."""
        try:
            return self._live.read_text().strip().removeprefix("release-") or None
        except FileNotFoundError:
            return None

    def switch(self, identity: str) -> None:
        """From the next request on, this release gets them all; those under way stay where they are."""
        write(self._live, f"release-{identity}")

    def answers(self) -> str:
        """Empty when a request for /readyz through the edge succeeds; else the address and what came back."""
        url = "http://127.0.0.1/readyz"
        status, body = get(url)
        # With a domain, port 80 redirects to HTTPS: that much shows that the edge is there.
        if status == 200 or (self._settings.domain and status in range(300, 400)):
            return ""
        return f"{url} answered {status or 'nothing'}: {body}"

    def sample(self) -> Sample | None:
        """What the edge has counted since its start or last reload; None when it does not answer."""
        running = [container for container in self._engine.containers("edge") if container.runs]
        if not running:
            return None
        status, body = get(f"http://{running[0].address}:2019/metrics", limit=None)
        return parse(body) if status == 200 else None

    def reload(self) -> None:
        """Has the running edge take its new Caddyfile, with no connection cut.

        A reload closes connections that are idle at that moment, and a request that a client sends just then is lost.
        So every reply closes its connection for a while first: those that are left have been silent all the time. It
        also closes the listening socket, with those in its queue that nobody has accepted: so the queue is empty then.

        Raises:
            ReleaseError: Caddy refuses the configuration; it goes on with the one before.
        """
        running = [container for container in self._engine.containers("edge") if container.runs]
        if not running:
            return
        closing = self._settings.stack_dir / "caddy" / "closing"
        command = ("caddy", "reload", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile")
        try:
            write(closing, "")
            time.sleep(CLOSING_SECONDS)
            with _new_connections_held():
                self._engine.docker("exec", running[0].id, *command, "--address", "localhost:2020")
        except ReleaseError as error:
            raise ReleaseError(f"the edge refuses its configuration: {error}") from None
        finally:
            closing.unlink(missing_ok=True)


@contextlib.contextmanager
def _new_connections_held() -> Iterator[None]:
    _nft(HOLD)
    try:
        time.sleep(ACCEPT_SECONDS)
        yield
    finally:
        _nft("delete table inet comentarios_release")


def _nft(rules: str) -> None:
    command = ["nft", "--file", "-"]
    done = subprocess.run(command, input=rules, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise ReleaseError(f"nftables refuses the rules that hold new connections: {done.stderr.strip()}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def get(url: str, timeout: float = 2, limit: int | None = 200) -> tuple[int, str]:
    """Status and body of a GET, or 0 and the reason why nothing came back."""
    try:
        with _opener.open(url, timeout=timeout) as reply:
            return reply.status, _short(reply.read(), limit)
    except urllib.error.HTTPError as error:
        return error.code, _short(error.read(), limit)
    except (OSError, http.client.HTTPException) as error:
        return 0, str(getattr(error, "reason", error))


def _short(body: bytes, limit: int | None) -> str:
    text = body.decode(errors="replace")
    return text if limit is None else " ".join(text.split())[:limit]
