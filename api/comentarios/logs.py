"""JSON logs on standard error, one object per line."""

import contextlib
import functools
import json
import logging
import sys
import time
from collections import deque
from contextvars import ContextVar
from json.encoder import encode_basestring_ascii as quoted

# Logged characters of a path: enough for a content_id, and a limit for the log's size.
MAX_PATH = 500
# The largest write, in lines and in characters: the kernel writes at most this many to a pipe in one piece.
MAX_LINES, MAX_WRITE = 16, 4096
# The id of the request that this thread handles, to find the log lines of an error.
request_id_of_thread: ContextVar[str] = ContextVar("request_id", default="")


class JsonFormatter(logging.Formatter):
    """time (ISO 8601, UTC), level, logger, message, the request's id and, for an exception, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := request_id_of_thread.get():
            line["request_id"] = request_id
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Lines:
    """Request lines. Those that follow each other closely are written together.

    Each write wakes Docker's engine, which takes more CPU time than a list does.

    pause: for how many seconds after a write lines are kept, unless there are many; 0 keeps none. Whoever sets it must
        call `write` from time to time.
    """

    pause = 0.0

    def __init__(self) -> None:
        self._lines: deque[str] = deque()
        self._written = 0.0

    def add(self, line: str, last: bool = False) -> None:
        """last: whether the process may end soon."""
        self._lines.append(line)
        now = time.monotonic()
        if now - self._written >= self.pause or last or len(self._lines) >= MAX_LINES:
            self._written = now
            self.write()

    def write(self) -> None:
        text = ""
        # A log that cannot be written, on a full disk for example, is no reason to fail a request.
        with contextlib.suppress(OSError):
            try:
                while True:
                    line = self._lines.popleft()
                    if len(text) + len(line) > MAX_WRITE:
                        sys.stderr.write(text)
                        text = ""
                    text += line
            except IndexError:
                if text:
                    sys.stderr.write(text)


def request_line(method: str, path: str, code: str, request_id: str, seconds: float) -> str:
    """The line is built by hand because the logging module would take longer than the database."""
    return (
        f'{{"time": "{timestamp(time.time())}", "level": "info", "logger": "comentarios.request", '
        f'"method": {quoted(method)}, "path": {quoted(path[:MAX_PATH])}, "status": {code or 0}, '
        f'"duration_ms": {seconds * 1000:.3f}, "request_id": "{request_id}"}}\n'
    )


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 with milliseconds, UTC."""
    whole = int(seconds)
    return f"{_date(whole)}.{int((seconds - whole) * 1000):03d}Z"


@functools.lru_cache(maxsize=2)
def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def configure(level: str) -> None:
    """Log our own lines, and the connection pool's, from `level` up, to standard error.

    At info, the pool would log three lines for each statement, which take more CPU time than the statement.
    """
    for name, from_ in (("comentarios", level), ("psycopg.pool", "warning" if level == "info" else level)):
        logger = logging.getLogger(name)
        if not logger.handlers:
            handler = logging.StreamHandler(sys.stderr)
            handler.setFormatter(JsonFormatter())
            logger.addHandler(handler)
            logger.propagate = False
        logger.setLevel(from_.upper())
