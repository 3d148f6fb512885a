"""Loaded by Granian's worker only: the parent process, which only waits for signals, does not load Flask."""

import ctypes
import os
import signal
import socket
import sys
from multiprocessing.util import Finalize

from flask import Flask

from . import app
from .logs import Lines

# From malloc.h.
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
# Log lines of so many seconds are written together. Also the time between two looks for signals.
LINES_SECONDS = 1


def create_app() -> Flask:
    """The application, in a process on one CPU that gives memory back.

    Every second, it looks for signals and writes the log lines that it kept. It also writes them before it ends.

    The main thread sleeps until SIGTERM. One that comes just before it falls asleep does not wake it (CPython's
    `lock.acquire`), and Granian sends no second.
    """
    _give_memory_back()
    _stay_on_one_cpu()
    created = app.create_app()
    lines: Lines = created.extensions["lines"]
    lines.pause = LINES_SECONDS
    signal.signal(signal.SIGALRM, lambda *_: lines.write())
    signal.setitimer(signal.ITIMER_REAL, LINES_SECONDS, LINES_SECONDS)
    # The worker is a child of `multiprocessing`, which does not run `atexit`'s functions in all versions of Python.
    Finalize(None, lines.write, exitpriority=0)
    return created


def _give_memory_back() -> None:
    """Return large free blocks to the system at once, and do not keep a heap per thread.

    glibc would keep 130 MiB after a burst of long lists; with this, it keeps 65. Other C libraries have no such
    function, or do not need it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, 64 * 1024)
        mallopt(M_ARENA_MAX, 2)


def _stay_on_one_cpu() -> None:
    """Only one thread at a time runs Python. On several CPUs each hands its lock to one that has to wake up elsewhere,
    a dozen times for a list, which takes four times the CPU time (docs/decisions.md).

    A release gives its replicas neighbouring addresses, and so different CPUs. macOS has no such call.
    """
    if sys.platform != "linux":
        return
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        address = "127.0.0.1"
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[int(address.rpartition(".")[2]) % len(allowed)]})
