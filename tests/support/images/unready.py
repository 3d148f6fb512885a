"""Listens, but never becomes ready."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Unready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(503, "the cache is still warming up")

    do_POST = do_GET


print("waiting for a cache that never comes", flush=True)
ThreadingHTTPServer(("0.0.0.0", 8000), Unready).serve_forever()
