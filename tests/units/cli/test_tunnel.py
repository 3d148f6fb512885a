"""Pages of other origins get nothing through `make tunnel`, whatever a browser sends for them."""

from __future__ import annotations

import http.client
import http.server
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.tunnel import TunnelProxy, refusal

PORT = 9093
EVIL = "https://evil.example"
SILENCE = b'{"matchers":[{"name":"alertname","value":".+","isRegex":true}]}'


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "evil.example:9093"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:9090"},
        {"Host": "127.0.0.1:9093.evil.example"},
        {"Host": "127.0.0.1:9093", "Origin": EVIL},
        {"Host": "127.0.0.1:9093", "Origin": "null"},
        {"Host": "127.0.0.1:9093", "Origin": ""},
        {"Host": "127.0.0.1:9093", "Origin": "http://localhost:9093"},
        {"Host": "127.0.0.1:9093", "Origin": "http://127.0.0.1:9090"},
        {"Host": "localhost:9093", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Host": "localhost:9093", "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
        {
            "Host": "localhost:9093",
            "Sec-Fetch-Site": "cross-site",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "iframe",
        },
    ],
)
def test_other_pages_are_refused(headers: dict[str, str]) -> None:
    assert refusal(headers, PORT)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "127.0.0.1:9093"},
        {"Host": "localhost:9093", "Origin": "http://localhost:9093", "Sec-Fetch-Site": "same-origin"},
        {"Host": "127.0.0.1:9093", "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {
            "Host": "127.0.0.1:9093",
            "Sec-Fetch-Site": "cross-site",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
        },
    ],
)
def test_own_pages_programs_and_links_are_not(headers: dict[str, str]) -> None:
    assert not refusal(headers, PORT)


class Service(http.server.BaseHTTPRequestHandler):
    """Answers every origin, as Prometheus and Alertmanager do, and keeps what it was asked."""

    asked: list[tuple[str, bytes]] = []

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.asked.append((f"{self.command} {self.path}", body))
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_POST = do_OPTIONS = do_GET

    def address_string(self) -> str:
        return "socket"

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    Service.asked.clear()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "service")
        with socketserver.ThreadingUnixStreamServer(str(path), Service) as service, TunnelProxy(0, path) as door:
            threading.Thread(target=service.serve_forever, args=(0.01,), daemon=True).start()
            threading.Thread(target=door.serve_forever, args=(0.01,), daemon=True).start()
            yield door.server_port
            door.shutdown()
            service.shutdown()


def ask(port: int, method: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, "/api/v2/silences", body, {name.replace("_", "-"): one for name, one in headers.items()})
    reply = connection.getresponse()
    reply.read()
    return reply


def test_requests_of_another_page_reach_nothing(port: int) -> None:
    """A fetch, its preflight, a form, and a name that leads to 127.0.0.1."""
    evil: list[tuple[str, dict[str, str]]] = [
        ("GET", {"Origin": EVIL}),
        ("OPTIONS", {"Origin": EVIL, "Access_Control_Request_Method": "POST"}),
        ("POST", {"Origin": EVIL, "Content_Type": "text/plain"}),
        ("POST", {"Origin": "http://evil.example:9093", "Host": f"evil.example:{port}"}),
    ]
    for method, headers in evil:
        reply = ask(port, method, SILENCE if method == "POST" else None, **headers)
        assert reply.status == 403 and not reply.getheader("Access-Control-Allow-Origin")
    assert Service.asked == []


def test_a_program_gets_through_and_no_page_may_read_along(port: int) -> None:
    reply = ask(port, "POST", SILENCE)
    assert reply.status == 200 and Service.asked == [("POST /api/v2/silences", SILENCE)]
    assert not reply.getheader("Access-Control-Allow-Origin") and reply.getheader("X-Frame-Options") == "DENY"


def test_host_that_does_not_answer() -> None:
    with TunnelProxy(0, Path("/nonexistent")) as door:
        threading.Thread(target=door.serve_forever, args=(0.01,), daemon=True).start()
        assert ask(door.server_port, "GET").status == 502
        door.shutdown()
