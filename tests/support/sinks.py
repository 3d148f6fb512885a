"""Receivers that keep messages: HTTP for webhooks and Slack, SMTP for e-mail. On loopback, on any free port."""

import contextlib
import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Sink:
    """What arrived at `port`, in order: (path, headers, body) by HTTP, (sender, receivers, text) by SMTP."""

    port: int = 0
    received: list[tuple[Any, ...]] = field(default_factory=list)

    def wait_for(self, wanted: Callable[[tuple[Any, ...]], bool], seconds: float) -> tuple[Any, ...]:
        """The first arrival, by now or within `seconds`, that is wanted; AssertionError when there is none."""
        deadline = time.monotonic() + seconds
        while True:
            for arrival in list(self.received):
                if wanted(arrival):
                    return arrival
            assert time.monotonic() < deadline, f"not within {seconds} s; what came: {self.received}"
            time.sleep(0.2)


@contextlib.contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def http_sink(address: str = "127.0.0.1") -> Iterator[Sink]:
    """An HTTP server that answers every POST with 200; bodies are parsed as JSON."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sink.received.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer((address, 0), Handler) as server:
        sink.port = server.server_address[1]
        with _serving(server):
            yield sink


@contextlib.contextmanager
def smtp_sink() -> Iterator[Sink]:
    """A mail server that takes every message, without TLS or log-in."""
    sink = Sink()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 sink")
            sender, receivers = "", []
            while line := self.rfile.readline().decode().strip():
                verb, _, rest = line.partition(":")
                match verb.upper().split()[0], verb.upper():
                    case "EHLO" | "HELO", _:
                        self.say("250 sink")
                    case _, "MAIL FROM":
                        sender = rest
                        self.say("250 ok")
                    case _, "RCPT TO":
                        receivers.append(rest)
                        self.say("250 ok")
                    case "DATA", _:
                        self.say("354 go on")
                        text = b"".join(iter(self.rfile.readline, b".\r\n")).decode()
                        sink.received.append((sender, receivers, text))
                        self.say("250 ok")
                    case "QUIT", _:
                        self.say("221 bye")
                        return
                    case _:
                        self.say("502 unknown")

        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        sink.port = server.server_address[1]
        with _serving(server):
            yield sink
