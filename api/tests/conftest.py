"""What the API's tests share: an application over an empty database, and where the modules are.

units run anywhere, in seconds; parts want root, Debian's packages or more time. Tests that any engine must pass stand
in units, over SQLite; parts/test_on_postgresql.py runs them again over PostgreSQL.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

API = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(API), str(API / "bench")]

from comentarios.app import create_app  # noqa: E402
from comentarios.config import Settings  # noqa: E402
from comentarios.lifecycle import Lifecycle  # noqa: E402
from flask import Flask  # noqa: E402
from flask.testing import FlaskClient  # noqa: E402
from werkzeug.test import TestResponse  # noqa: E402


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/comentarios.db"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """An empty database."""
    return sqlite_url


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    application = create_app(Settings(database_url=database_url), Lifecycle())
    yield application
    application.extensions["storage"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def post(client: FlaskClient) -> Callable[..., TestResponse]:
    """Post a comment that must be accepted."""

    def send(content_id: object, comment: str = "first post!", email: str = "alice@example.com") -> TestResponse:
        reply = client.post("/api/comment/new", json={"email": email, "comment": comment, "content_id": content_id})
        assert reply.status_code == 200, reply.text
        return reply

    return send
