"""Start and stop the compared servers, each as one process on chosen cores."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urljoin

HERE = Path(__file__).resolve().parent
API = HERE.parents[1]


def free_port() -> int:
    """A port of the loopback interface that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until_ready(url: str, path: str, process: subprocess.Popen[bytes] | None = None) -> None:
    """Ask until it answers. Raises `RuntimeError` after 30 s, or when `process` has ended."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process and process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            urllib.request.urlopen(url + path, timeout=2).close()
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer within 30 s")


class Server:
    """A process that answers HTTP on 127.0.0.1:`port`, in a process group of its own.

    command: its arguments. environment: added to ours. folder: where it runs. cores: CPUs it may use, None for
    all. log: where its output goes, None for nowhere. ready: path that answers once it is up.
    """

    def __init__(
        self,
        command: list[str],
        port: int,
        environment: dict[str, str] | None = None,
        folder: Path = API,
        cores: set[int] | None = None,
        log: str | Path | None = None,
        ready: str = "/",
    ):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = open(log or os.devnull, "ab")  # noqa: SIM115 - closed by stop()
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
        )
        try:
            wait_until_ready(self.url, ready, self.process)
        except RuntimeError:
            self.stop()
            raise

    def worker(self) -> int:
        """The process that answers: the only child, or the process itself."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[-1]) if children else pid

    def kill(self) -> None:
        """`kill -9` to all of it at once, as a power cut would."""
        os.killpg(self.process.pid, 9)
        self.process.wait()
        self._log.close()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._log.close()
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.stop()


def api(database_url: str, **options: Any) -> Server:
    """The API as the image serves it."""
    port = free_port()
    environment = {"DATABASE_URL": database_url, "PORT": str(port), "HOST": "127.0.0.1"}
    environment |= options.pop("environment", {})
    return Server(["comentarios.serve"], port, environment, ready="/readyz", **options)


def api_gunicorn(database_url: str, **options: Any) -> Server:
    """The API as `gunicorn api:app` serves it, with api/gunicorn.conf.py."""
    port = free_port()
    command = ["gunicorn", "--bind", f"127.0.0.1:{port}", "api:app"]
    environment = {"DATABASE_URL": database_url} | options.pop("environment", {})
    return Server(command, port, environment, ready="/readyz", **options)


def original(**options: Any) -> Server:
    """The original as its README starts it, on another port."""
    port = free_port()
    command = ["gunicorn", "--log-level", "debug", "--bind", f"127.0.0.1:{port}", "original:app"]
    return Server(command, port, folder=HERE, **options)


def bare_granian(**options: Any) -> Server:
    """Bare Flask under Granian with the API's own options."""
    port = free_port()
    environment = {"PORT": str(port), "HOST": "127.0.0.1", "PYTHONPATH": str(API)}
    return Server(["bare_granian"], port, environment, folder=HERE, **options)


def bare_gunicorn(**options: Any) -> Server:
    """Bare Flask under gunicorn with the API's own options."""
    port = free_port()
    command = ["gunicorn", "--config", str(API / "gunicorn.conf.py"), "--bind", f"127.0.0.1:{port}", "bare:app"]
    return Server(command, port, {"PYTHONPATH": str(API)}, folder=HERE, **options)


def status(url: str) -> int:
    """The HTTP status of a GET, whatever it is."""
    try:
        with urllib.request.urlopen(url, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def tag(url: str) -> str:
    """The ETag of what is there."""
    with urllib.request.urlopen(url, timeout=10) as reply:
        return str(reply.headers["ETag"])


def read_thread(url: str, content_id: str) -> list[str]:
    """The comments' texts, of all pages; none when the thread was never seen."""
    texts: list[str] = []
    page: str | None = f"{url}/api/comment/list/{quote(content_id, safe='')}"
    while page:
        try:
            with urllib.request.urlopen(page, timeout=30) as reply:
                texts += [comment["comment"] for comment in json.load(reply)]
                link = re.fullmatch(r'<(.+)>; rel="next"', reply.headers.get("Link", ""))
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 404:
                    raise
                break
        page = urljoin(page, link[1]) if link else None
    return texts


def post(url: str, body: dict[str, Any], timeout: float = 10) -> tuple[int, dict[str, Any]]:
    """POST one comment; HTTP status and the reply's JSON."""
    request = urllib.request.Request(
        url + "/api/comment/new", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
