"""The API, which is ready and well until it has had requests for so many seconds; then it answers them with 500."""

import time

from comentarios import app, config, lifecycle, serve

SECONDS = 20


def create_app():
    good = app.create_app()
    first: list[float] = []

    def turning(environ, start_response):
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
    drain = config.Settings.from_env().drain_seconds
    server = serve.Server(lifecycle.Lifecycle.of_process(), drain, factory=True, address="0.0.0.0", **serve.OPTIONS)
    server.target = "late:create_app"
    server.serve()
