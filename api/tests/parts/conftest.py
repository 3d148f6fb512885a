"""A PostgreSQL server of the tests' own."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import Postgres

# test_on_postgresql.py takes its tests from there.
sys.path.append(str(Path(__file__).resolve().parents[1] / "units"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """On a free port; stopped and removed at the end."""
    server = Postgres.create()
    yield server
    server.remove()
