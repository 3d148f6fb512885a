"""The clock jumps, as after a suspended machine or a wrong time service; libfaketime simulates it."""

import sqlite3
import threading
import time
from pathlib import Path

import pytest
import servers

from common import apt

LIBRARY = "libfaketime.so.1"


@pytest.fixture(scope="module")
def library() -> str:
    def found() -> list[Path]:
        return sorted(Path("/usr/lib").glob(f"*/faketime/{LIBRARY}"))

    if not found():
        apt.install("libfaketime")
    return str(found()[0])


def test_clock_jumps_under_load(tmp_path: Path, library: str) -> None:
    """A day ahead, two back: every comment is taken, once, and in the order in which it came."""
    clock, database = tmp_path / "clock", tmp_path / "comentarios.db"
    clock.write_text("+0")
    environment = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        # A real clock's jump leaves the monotonic one alone.
        "DONT_FAKE_MONOTONIC": "1",
    }
    sent: list[str] = []
    failed: list[object] = []
    stop = threading.Event()

    def write(url: str) -> None:
        while not stop.is_set():
            text = str(len(sent))
            status, reply = servers.post(url, {"email": "a@example.com", "comment": text, "content_id": "clock"})
            sent.append(text)
            if status != 200:
                failed.append((text, status, reply))

    with servers.api(f"sqlite:///{database}", environment=environment) as server:
        writer = threading.Thread(target=write, args=(server.url,))
        writer.start()
        try:
            for jump in ("+1d", "-1d", "+0"):
                time.sleep(0.7)
                clock.write_text(jump)
            time.sleep(0.7)
        finally:
            stop.set()
            writer.join(30)
        listed = servers.read_thread(server.url, "clock")
    assert not failed
    assert len(sent) > 50 and listed == sent
    with sqlite3.connect(database) as connection:
        days = connection.execute("SELECT DISTINCT (created_ms - ?) / 40000000 FROM comments", (_now(),)).fetchall()
    # The server did believe each of the clocks.
    assert {day for (day,) in days} >= {-2, 0, 2}, days


def _now() -> int:
    return int(time.time() * 1000)
