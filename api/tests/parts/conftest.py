"""A PostgreSQL server for the tests."""

from collections.abc import Iterator

import pytest
from postgres import Postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """On a free port; stopped and removed at the end."""
    server = Postgres.create()
    yield server
    server.remove()
