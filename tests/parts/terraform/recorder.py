"""moto's server on a free port, which it prints.

It writes every request down: who asked, what, and the tags of everything in EC2 at that moment.
"""

from __future__ import annotations

import gc
import io
import json
import re
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from moto.ec2.models import ec2_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from sandbox.machine import detach_like_ec2

SIGNED = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/")


class Recorder:
    """WSGI application before another one; appends a JSON line for each signed request to a file."""

    def __init__(self, application: Any, file: Path) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._file = file.open("a")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = _body(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        signed = SIGNED.search(environ.get("HTTP_AUTHORIZATION", ""))
        if signed:
            key, region, service = signed.groups()
            request = {
                "key": key,
                "region": region,
                "service": service,
                "method": environ["REQUEST_METHOD"],
                "path": environ["PATH_INFO"],
                "query": environ["QUERY_STRING"],
                "target": environ.get("HTTP_X_AMZ_TARGET", ""),
                "copy": "HTTP_X_AMZ_COPY_SOURCE" in environ,
                "if_none_match": environ.get("HTTP_IF_NONE_MATCH", ""),
                # What S3 stores is none of a policy's business.
                "body": "" if service == "s3" else body.decode(errors="replace"),
            }
            if service == "ec2":
                request |= _ec2()
            with self._lock:
                print(json.dumps(request), file=self._file, flush=True)
        answer: Iterable[bytes] = self._application(environ, start_response)
        return answer


def _ec2() -> dict[str, dict[str, Any]]:
    """The tags of what there is, and what associations are of."""
    tags: dict[str, dict[str, str]] = {}
    parts: dict[str, list[str]] = {}
    for regions in ec2_backends.values():
        for backend in regions.values():
            tags |= {name: dict(found) for name, found in backend.tags.copy().items()}
            for address in list(backend.addresses):
                if address.association_id:
                    parts[address.association_id] = [address.allocation_id]
            for table in list(backend.route_tables.values()):
                for association, subnet in list(table._associations.items()):
                    parts[association] = [table.id, subnet]
    return {"tags": tags, "parts": parts}


def _body(environ: dict[str, Any]) -> bytes:
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        return bytes(stream.read())
    return bytes(stream.read(int(environ.get("CONTENT_LENGTH") or 0)))


def main(file: Path) -> None:
    # As sandbox/machine.py does.
    gc.set_threshold(100_000)
    detach_like_ec2()
    application = Recorder(DomainDispatcherApplication(create_backend_app), file)
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
