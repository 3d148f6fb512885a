"""Fixtures of the API's tests: an application over an empty database.

units run anywhere, in seconds; parts want root, Debian's packages or more time. Tests that any engine must pass stand
in units, over SQLite; parts/test_on_postgresql.py runs them again over PostgreSQL.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from comentarios.app import create_app
from comentarios.config import Settings
from comentarios.draining import Draining
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/comentarios.db"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """An empty database."""
    return sqlite_url


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    application = create_app(Settings(database_url=database_url), Draining())
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
