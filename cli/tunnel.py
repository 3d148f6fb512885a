"""A filter for `make tunnel`: it passes requests from its own pages and from programs, but not from other web pages.

Prometheus and Alertmanager have no login and answer requests from pages of any origin. By DNS rebinding, a foreign page
could even read the replies. So SSH forwards to sockets in a private folder, and browsers connect to this filter.
"""

import http.client
import socket
import threading
from collections.abc import Mapping
from pathlib import Path

from werkzeug.datastructures import Headers
from werkzeug.http import is_hop_by_hop_header
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

MAX_BODY_BYTES = 16 << 20
# Headers that we set ourselves.
OWN_HEADERS = {"content-length", "date", "server", "x-frame-options"}


def refusal(headers: Mapping[str, str] | Headers, port: int) -> str:
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


def _passes(name: str) -> bool:
    """Whether a header is passed on: none of one connection only, and none that lets other pages read a reply."""
    return not (is_hop_by_hop_header(name) or name.lower() in OWN_HEADERS or name.lower().startswith("access-control-"))


class TunnelProxy(ThreadedWSGIServer):
    """Listens on a port of 127.0.0.1 and forwards the requests that may pass."""

    def __init__(self, port: int, behind: Path):
        super().__init__("127.0.0.1", port, Request.application(self._answer), _Quiet)
        self._behind = behind

    def serve(self) -> None:
        """Serves in the background, until the process ends."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def _answer(self, request: Request) -> Response:
        request.max_content_length = MAX_BODY_BYTES
        response = self._forwarded(request)
        response.headers["X-Frame-Options"] = "DENY"
        return response

    def _forwarded(self, request: Request) -> Response:
        if reason := refusal(request.headers, self.server_port):
            return Response(f"{reason}\n", 403)
        headers = {name: value for name, value in request.headers if _passes(name)}
        environ, behind = request.environ, _SocketConnection(self._behind)
        try:
            behind.request(request.method, environ["RAW_URI"], request.get_data(), headers)
            reply = behind.getresponse()
            kept = [(name, value) for name, value in reply.getheaders() if _passes(name)]
            return Response(reply.read(), reply.status, kept)
        except (OSError, http.client.HTTPException) as error:
            return Response(f"the host does not answer: {error}\n", 502)
        finally:
            behind.close()


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        """Logs nothing: the screen belongs to the verb."""


class _SocketConnection(http.client.HTTPConnection):
    """A connection to SSH's socket."""

    def __init__(self, path: Path):
        super().__init__("127.0.0.1", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
