"""The AWS APIs: moto's server, with a journal, so that what was made survives the process and a reboot.

moto keeps everything in memory. Each request that changes something is appended to a file before it is answered, and
replayed when the server starts. Identifiers come out the same, because moto's source of random numbers is seeded with
the request's number each time.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from sandbox.config import ACCOUNT, ROOT
from sandbox.errors import SandboxError

READS = ("Describe", "Get", "List", "Head", "BatchGet", "BatchCheck", "Assume", "Lookup", "Simulate")
# What a request is made of, besides its body.
KEPT = (
    "REQUEST_METHOD",
    "PATH_INFO",
    "QUERY_STRING",
    "CONTENT_TYPE",
    "RAW_URI",
    "REQUEST_URI",
    "SCRIPT_NAME",
)


class Journal:
    """WSGI application that keeps a journal of the changing requests to another one.

    Args:
        application: the WSGI application behind.
        path: the journal, one JSON object a line; it is replayed at once.

    Attributes:
        changed: set after every changing request, for whoever follows.

    Raises:
        SandboxError: the journal cannot be replayed.
    """

    def __init__(self, application: Any, path: Path) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._count = 0
        self.changed = threading.Event()
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            self._replay(path)
        self._file = path.open("a")

    def __call__(self, environ: dict, start_response: Any) -> Iterable[bytes]:
        body = _body(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        if not _changes(environ, body):
            return self._application(environ, start_response)
        with self._lock:
            self._file.write(json.dumps({"environ": _kept(environ), "body": base64.b64encode(body).decode()}) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
            answer = self._change(environ, start_response)
        self.changed.set()
        return answer

    def _change(self, environ: dict, start_response: Any) -> list[bytes]:
        from moto.moto_api._internal import mock_random

        self._count += 1
        mock_random.seed(self._count)
        return list(self._application(environ, start_response))

    def _replay(self, path: Path) -> None:
        lines = path.read_text().splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            # The power went while it was written: that request was never answered.
            lines.pop()
            path.write_text("".join(lines))
        for line in lines:
            try:
                entry = json.loads(line)
                body = base64.b64decode(entry["body"])
                environ = entry["environ"] | {
                    "SERVER_NAME": "sandbox",
                    "SERVER_PORT": "80",
                    "SERVER_PROTOCOL": "HTTP/1.1",
                    "CONTENT_LENGTH": str(len(body)),
                    "wsgi.input": io.BytesIO(body),
                    "wsgi.errors": io.StringIO(),
                    "wsgi.url_scheme": "http",
                    "wsgi.version": (1, 0),
                    "wsgi.multithread": True,
                    "wsgi.multiprocess": False,
                    "wsgi.run_once": False,
                }
                self._change(environ, lambda *_: None)
            except Exception as error:
                raise SandboxError(f"{path} cannot be replayed ({error}): `make down`, then `make up`") from error


def application(journal: Path) -> Journal:
    """moto's server for every service, with a journal."""
    # moto reads these when it is imported.
    os.environ["MOTO_AMIS_PATH"] = str(ROOT / "sandbox" / "amis.json")
    os.environ["MOTO_ACCOUNT_ID"] = ACCOUNT
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    return Journal(DomainDispatcherApplication(create_backend_app), journal)


def _kept(environ: dict) -> dict[str, str]:
    """What a request is replayed from: without who asked, whose key and session are nobody else's business."""
    kept = {name: environ[name] for name in environ if name in KEPT or name.startswith("HTTP_")}
    kept.pop("HTTP_X_AMZ_SECURITY_TOKEN", None)
    if "HTTP_AUTHORIZATION" in kept:
        # moto reads region and service behind the key's id.
        kept["HTTP_AUTHORIZATION"] = re.sub(r"Credential=[^/]*/", "Credential=sandbox/", kept["HTTP_AUTHORIZATION"])
    return kept


def _body(environ: dict) -> bytes:
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        return stream.read()
    return stream.read(int(environ.get("CONTENT_LENGTH") or 0))


def _changes(environ: dict, body: bytes) -> bool:
    if environ["REQUEST_METHOD"] in {"GET", "HEAD", "OPTIONS"}:
        return False
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if not target and environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        target = parse_qs(body.decode(errors="replace")).get("Action", [""])[0]
    return not target.rpartition(".")[2].startswith(READS)
