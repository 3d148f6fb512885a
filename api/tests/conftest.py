"""What the API's tests share: an application per engine, a real PostgreSQL, real server processes."""

import sys
from pathlib import Path

import pytest

API = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(API), str(API / "bench")]

from comentarios.app import create_app  # noqa: E402
from comentarios.config import Settings  # noqa: E402
from comentarios.lifecycle import Lifecycle  # noqa: E402
from postgres import Postgres  # noqa: E402


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of its own on a free port; stopped and removed at the end."""
    server = Postgres.create()
    yield server
    server.remove()


@pytest.fixture
def sqlite_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/comentarios.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request) -> str:
    """An empty database, of each engine in turn."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture
def app(database_url):
    application = create_app(Settings(database_url=database_url), Lifecycle())
    yield application
    application.extensions["storage"].close()


@pytest.fixture
def client(app):
    return app.test_client()


@pytest.fixture
def sqlite_app(sqlite_url):
    application = create_app(Settings(database_url=sqlite_url), Lifecycle())
    yield application
    application.extensions["storage"].close()


@pytest.fixture
def sqlite_client(sqlite_app):
    """For what does not depend on the engine."""
    return sqlite_app.test_client()


@pytest.fixture
def post(client):
    """Post a comment that must be accepted."""

    def send(content_id, comment="first post!", email="alice@example.com"):
        reply = client.post("/api/comment/new", json={"email": email, "comment": comment, "content_id": content_id})
        assert reply.status_code == 200, reply.text
        return reply

    return send
