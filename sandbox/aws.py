"""The AWS APIs: moto's server with a journal, so that resources survive a restart of the process and a reboot.

moto keeps everything in memory. Each changing request is written to a file, with a digest of its answer, before the
client gets the answer. At the start the file is replayed; if an answer differs, the start fails. Requests are processed
one at a time, reads included.
"""

import io
import os
import re
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from werkzeug.serving import WSGIRequestHandler

from common.errors import CommandError
from common.keys import Keys
from sandbox.journal import Entry, Journal, now
from sandbox.machine import NAMES, Answer, Environ, Machine, Secret
from sandbox.signature import Refused, refusal, verify

# Services that concern neither hosts nor images nor load balancers. Terraform and the hosts write to them all the time.
APART = {"s3", "sts", "iam", "ssm"}
READS = ("Describe", "Get", "List", "Head", "BatchGet", "BatchCheck", "Lookup", "Simulate")
# KMS's signatures come from OpenSSL's random generator and change nothing.
READ = {"TrentService.Sign"}
# The parts of a request besides headers and body.
KEPT = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE", "RAW_URI", "REQUEST_URI", "SCRIPT_NAME")
# moto's own: reset and recorder, and its metadata service, which is not version 2.
SHUT = ("/moto-api", "/favicon.ico", "/latest/meta-data", "/latest/api")


class Apis:
    """WSGI application: the AWS APIs of one sandbox.

    Args:
        path: the journal; it is replayed at once.
        own: the sandbox's keys.
        host: its address as clients name it, with the port.

    Attributes:
        changed: set after every changing request that may concern hosts, images or load balancers.
        journal: the changing requests.
        machine: moto.

    Raises:
        CommandError: the journal cannot be replayed, or an answer differs.
    """

    def __init__(self, path: Path, own: Keys, host: str) -> None:
        self._own, self._host = own, host
        self.changed = threading.Event()
        self.journal = Journal(path)
        self.machine = Machine(self.journal.seed, self.journal.created, own.registry)
        for entry in self.journal.entries():
            self.journal.check(entry, self.machine.answer(entry.environ, entry.body, entry.nonce, entry.time))

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = self._answer(environ)
        start_response(answer.status, list(answer.headers))
        return [answer.body]

    def _answer(self, environ: Environ) -> Answer:
        if reason := self._refusal(environ):
            return Answer("403 Forbidden", (("Content-Type", "text/plain"),), f"sandbox: {reason}\n".encode())
        body = _body(environ)
        try:
            service = verify(environ, body, self._secret)
        except Refused as refused:
            return refusal(environ, body, refused)
        if not _changes(environ, body):
            return self.machine.answer(_asked(environ), body, os.urandom(16).hex(), now())
        answer = self._change(environ, body)
        if service not in APART:
            self.changed.set()
        return answer

    def _refusal(self, environ: Environ) -> str | None:
        """Why a request is refused; None if it may be a client's."""
        if environ.get("HTTP_HOST") != self._host:
            return f"it answers as {self._host} only"
        if "HTTP_ORIGIN" in environ:
            return "it does not answer pages of a browser"
        if not str(environ.get("RAW_URI", "")).startswith("/") or environ["PATH_INFO"].startswith(SHUT):
            return "nothing is here"
        return None

    def _secret(self, key: str) -> Secret | None:
        if key == self._own.access:
            return Secret(self._own.secret)
        return self.machine.secret(key)

    def _change(self, environ: Environ, body: bytes) -> Answer:
        with self.machine.lock:
            entry = Entry(self.journal.count + 1, now(), _kept(environ), body)
            try:
                self.journal.reserve(entry)
            except OSError as error:
                self.journal.release()
                return Answer("500 INTERNAL SERVER ERROR", (), f"sandbox: the journal: {error.strerror}\n".encode())
            try:
                answer = self.machine.answer(entry.environ, entry.body, entry.nonce, entry.time)
                self.journal.add(entry, answer)
            except (OSError, CommandError):
                # moto and the journal may differ now, or moto has ended: only a replay helps.
                traceback.print_exc()
                os._exit(1)
            return answer


class Handler(WSGIRequestHandler):
    """Keeps the names of S3's metadata that have underscores, as moto's handler does.

    moto's would bring all of moto into this process: half of its start, and 50 MB.
    """

    def make_environ(self) -> Environ:
        environ: Environ = super().make_environ()
        names: dict[str, str] = {}
        for name, value in self.headers.items():
            if "_" in name and name.lower().startswith("x-amz-meta-"):
                key = f"HTTP_{name.upper().replace('-', '_')}"
                if key in names:
                    environ[key] += f",{value}"
                # Never instead of a header with dashes.
                elif key not in environ:
                    names[key], environ[key] = name, value
        return environ | {NAMES: names}


def _asked(environ: Environ) -> Environ:
    """The parts of a request that moto reads."""
    asked = {name: environ[name] for name in environ if name in KEPT or name.startswith("HTTP_")}
    asked.pop("HTTP_TRANSFER_ENCODING", None)
    return asked | {
        "SERVER_NAME": "sandbox",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        NAMES: environ.get(NAMES, {}),
    }


def _kept(environ: Environ) -> Environ:
    """The parts of a request that the journal keeps: without the caller's key and session, which are private."""
    kept = _asked(environ)
    kept.pop("HTTP_X_AMZ_SECURITY_TOKEN", None)
    scope = re.sub(r"Credential=[^/]*/", "Credential=sandbox/", kept["HTTP_AUTHORIZATION"])
    kept["HTTP_AUTHORIZATION"] = re.sub(r"Signature=.*", "Signature=0", scope)
    return kept


def _body(environ: Environ) -> bytes:
    stream: io.BufferedIOBase = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        return stream.read()
    return stream.read(int(environ.get("CONTENT_LENGTH") or 0))


def _changes(environ: Environ, body: bytes) -> bool:
    """Whether a request may change something: it does not if all actions that it names are reads."""
    form = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
    actions = [
        *filter(None, [environ.get("HTTP_X_AMZ_TARGET")]),
        *parse_qs(environ.get("QUERY_STRING", "")).get("Action", []),
        *(parse_qs(body.decode(errors="replace")).get("Action", []) if form else []),
    ]
    if not all(action in READ or action.rpartition(".")[2].startswith(READS) for action in actions):
        return True
    return not actions and environ["REQUEST_METHOD"] not in {"GET", "HEAD", "OPTIONS"}
