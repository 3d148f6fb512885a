"""The API, ready and healthy until it has had requests for a number of seconds; then it answers them with 500."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from comentarios import app, config, serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SECONDS = 20


def create_app() -> WSGIApplication:
    good = app.create_app()
    first: list[float] = []

    def turning(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith("/api/"):
            first.append(time.monotonic()) if not first else None
            if time.monotonic() > first[0] + SECONDS:
                print("Traceback: the leak has eaten everything", flush=True)
                headers = [("Content-Type", "application/json"), ("Content-Length", "2")]
                start_response("500 Internal Server Error", headers)
                return [b"{}"]
        return good(environ, start_response)

    return turning


if __name__ == "__main__":
    settings = config.Settings.from_env()
    server = serve.Server(settings.host, settings.port, settings.drain_seconds)
    server.target = "late:create_app"
    server.serve()
