"""A logged-in headless browser: a page's DOM after its scripts have run."""

import http.server
import shutil
import subprocess
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request

from tests.support.monitoring import OPENER


class Browser:
    """Chromium. Its command line knows no log-in, so what it asks for passes a door that adds one."""

    def __init__(self, program: str):
        self.program = program

    @classmethod
    def find(cls) -> "Browser | None":
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        return cls(program) if program else None

    def page(self, url: str, headers: dict[str, str], seconds: int = 30) -> str:
        """The DOM of `url` once its scripts have had `seconds`; every request carries `headers`."""
        address = urllib.parse.urlsplit(url)
        with _Door(f"{address.scheme}://{address.netloc}", headers) as door, tempfile.TemporaryDirectory() as profile:
            done = subprocess.run(
                [
                    self.program,
                    "--headless=new",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    f"--user-data-dir={profile}",
                    # Grafana draws only the panels that can be seen.
                    "--window-size=1600,8000",
                    f"--virtual-time-budget={seconds * 1000}",
                    "--dump-dom",
                    f"http://127.0.0.1:{door.port}{address.path}?{address.query}",
                ],
                capture_output=True,
                text=True,
                timeout=seconds * 4,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        return done.stdout


class _Door:
    """Passes every request on to `target` with `headers` added."""

    def __init__(self, target: str, headers: dict[str, str]):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                self._pass_on(None)

            def do_POST(self) -> None:
                self._pass_on(self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def _pass_on(self, body: bytes | None) -> None:
                kept = {k: v for k, v in self.headers.items() if k.lower() in ("content-type", "accept")}
                request = urllib.request.Request(f"{target}{self.path}", body, kept | headers, method=self.command)
                try:
                    with OPENER.open(request, timeout=30) as answer:
                        status, kind, content = answer.status, answer.headers.get("Content-Type"), answer.read()
                except urllib.error.HTTPError as error:
                    status, kind, content = error.code, error.headers.get("Content-Type"), error.read()
                self.send_response(status)
                self.send_header("Content-Type", kind or "application/octet-stream")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    def __enter__(self) -> "_Door":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
