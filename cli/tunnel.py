"""A filter for `make tunnel`: it passes requests from its own pages and from programs, but not from other web pages.

Prometheus and Alertmanager have no login and answer requests from pages of any origin. By DNS rebinding, a foreign page
could even read the replies. So SSH forwards to sockets in a private folder, and browsers connect to this filter.
"""

import http.client
import http.server
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from email.message import Message
from pathlib import Path

LARGEST = 16 << 20
# Headers of one connection only, and those that we set ourselves.
OURS = {
    "connection",
    "content-length",
    "date",
    "keep-alive",
    "server",
    "transfer-encoding",
    "upgrade",
    "x-frame-options",
}


def refusal(headers: Mapping[str, str] | Message, port: int) -> str:
    """Why a request to this port is refused; empty if it may pass."""
    names = [f"{name}:{port}" for name in ("127.0.0.1", "localhost")]
    host, origin = headers.get("Host", ""), headers.get("Origin")
    if host not in names:
        return f"use http://{names[0]}/"
    if origin is not None and origin != f"http://{host}":
        return "requests from pages of another origin are refused"
    # Links from elsewhere may lead here, but other pages may not load anything from here.
    link = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not link:
        return "requests from pages of another site are refused"
    return ""


class Door(http.server.ThreadingHTTPServer):
    """Listens on a port of 127.0.0.1 and forwards what may pass."""

    daemon_threads = True

    def __init__(self, port: int, behind: Path):
        super().__init__(("127.0.0.1", port), Handler)
        self.behind = behind

    def serve(self) -> None:
        """Serves in the background, until the process ends."""
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a browser or a program."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    server: Door

    def forward(self) -> None:
        # The body of a refused request is not read; the connection is closed.
        length = self.headers.get("Content-Length", "0")
        if reason := refusal(self.headers, self.server.server_port):
            return self._say(403, reason)
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            return self._say(411, "a body needs its Content-Length")
        if int(length) > LARGEST:
            return self._say(413, f"the body has more than {LARGEST} bytes")
        body = self.rfile.read(int(length))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OURS}
        behind = _Behind(self.server.behind)
        try:
            behind.request(self.command, self.path, body, headers | {"Connection": "close"})
            reply = behind.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException) as error:
            return self._say(502, f"the host does not answer: {error}")
        finally:
            behind.close()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in OURS and not name.lower().startswith("access-control-"):
                self.send_header(name, value)
        return self._end(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = forward

    def _say(self, status: int, reason: str) -> None:
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Connection", "close")
        self._end(f"{reason}\n".encode())

    def _end(self, content: bytes) -> None:
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            with suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Logs nothing: the screen belongs to the verb."""


class _Behind(http.client.HTTPConnection):
    """A connection to SSH's socket."""

    def __init__(self, path: Path):
        super().__init__("127.0.0.1", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
