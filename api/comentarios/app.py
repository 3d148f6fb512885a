"""Creates the application."""

from flask import Flask

from . import docs, errors, health, logs
from .comments import Comments
from .config import Settings
from .draining import PROCESS, Draining
from .metrics import Metrics
from .middleware import Middleware
from .storage import open_storage


def create_app(settings: Settings | None = None, draining: Draining = PROCESS) -> Flask:
    """Return a ready application.

    `settings` defaults to the environment's. Raises `config.ConfigError` when a setting is wrong; a database that
    cannot be reached is no error here: `/readyz` says so until it can.
    """
    settings = settings or Settings.from_env()
    logs.configure(settings.log_level)
    storage = open_storage(settings)
    metrics = Metrics(settings, storage)

    app = Flask("comentarios", static_folder=None)
    # A content_id may contain `//`: merged slashes would redirect to another thread.
    app.url_map.merge_slashes = False
    app.extensions["storage"] = storage
    errors.init_app(app)
    metrics.init_app(app)
    comments = Comments(storage, metrics, settings)
    comments.init_app(app)
    health.init_app(app, settings, storage, draining, metrics)
    docs.init_app(app, settings)
    middleware = Middleware(app.wsgi_app, comments, metrics, draining, settings)
    app.extensions["lines"] = middleware.lines
    app.wsgi_app = middleware  # type: ignore[method-assign]
    storage.prepare()
    return app
