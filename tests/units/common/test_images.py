"""What `make clean` removes."""

from __future__ import annotations

from pathlib import Path

import pytest

from common import images
from tests.support.docker import Docker


def test_image_of_an_interrupted_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is recorded before it exists: an interrupt may come at once after it."""
    monkeypatch.setattr(images, "BUILT", tmp_path / "built")
    monkeypatch.setattr(images, "LOCKS", tmp_path / "locks")
    program = Docker(tmp_path / "bin", monkeypatch)
    program.answers(image_inspect="echo 'No such image' >&2; exit 1", rmi="", image_prune="")

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        images.ensure_built("comentarios-api:v1", interrupted)
    images.remove_all()
    assert "rmi comentarios-api:v1" in program.calls()
