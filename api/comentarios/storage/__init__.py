"""Storage of comments: one interface, two engines."""

from ..config import Settings
from .base import NewComment, Storage, StorageError, StorageFull, StorageUnavailable, Stored
from .moderation import Moderation, ModerationError

__all__ = [
    "Moderation",
    "ModerationError",
    "NewComment",
    "Storage",
    "StorageError",
    "StorageFull",
    "StorageUnavailable",
    "Stored",
    "open_storage",
]


def open_storage(settings: Settings) -> Storage:
    """The engine for `settings.database_url`. It does not connect yet."""
    if settings.database_url.startswith("sqlite:"):
        from .sqlite import SqliteEngine

        return Storage(SqliteEngine(settings.sqlite_path, settings.busy_seconds), settings.busy_seconds)
    from .postgresql import PostgresqlEngine

    return Storage(PostgresqlEngine(settings.database_url, settings.connect_seconds), settings.connect_seconds)
