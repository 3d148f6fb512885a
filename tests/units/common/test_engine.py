"""When an engine of ours is stopped: never while it may have containers."""

from __future__ import annotations

from pathlib import Path

import pytest

from common import engine
from tests.support.docker import Docker


@pytest.mark.parametrize(
    ("listed", "stopped"), [("", True), ("echo 0123456789ab", False), ("echo 'no answer' >&2; exit 1", False)]
)
def test_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, stopped: bool) -> None:
    """One that does not answer is not taken for one without containers."""
    Docker(tmp_path / "bin", monkeypatch).answers(ps=listed)
    (tmp_path / "dockerd.pid").write_text("4194305")
    alive, signals = iter([True, False]), []
    monkeypatch.setattr(engine, "_is_dockerd", lambda _: next(alive))
    monkeypatch.setattr("os.kill", lambda pid, _: signals.append(pid))
    engine.stop(tmp_path)
    assert signals == ([4194305] if stopped else [])
