"""A folder for the proofs' databases."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """On disk, where a sync costs what it costs: /tmp may be memory."""
    with tempfile.TemporaryDirectory(prefix="comentarios-proofs-", dir="/var/tmp") as path:
        yield Path(path)
