"""Settings, read once from the environment."""

import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

Number = TypeVar("Number", int, float)

LOG_LEVELS = ("debug", "info", "warning", "error")
# Bytes of a request's body. Fits the longest fields with each character as a pair of escapes (12 bytes; 126 KiB).
MAX_BODY_BYTES = 128 * 1024


class ConfigError(Exception):
    """A setting is invalid; the message says which values are valid."""


@dataclass(frozen=True)
class Settings:
    """Every setting of the API.

    database_url: `sqlite:///relative/path`, `sqlite:////absolute/path` or `postgresql://…`.
    version, commit: what the image was built from; shown on /healthz and in a metric.
    log_level: debug, info, warning or error. One line per request is written at info.
    drain_seconds: after SIGTERM, how long to go on serving with /readyz at 503 before the server stops.
    max_reply_bytes: a list ends before the comment that would make it larger; a link leads on. A reply fits into one
        buffer of the edge, so that a reader that does not read holds nothing here.
    host, port: where `python -m comentarios.serve` listens.
    busy_seconds: how long a write waits for another process that holds SQLite's lock.
    connect_seconds: how long to wait for a PostgreSQL connection or statement.
    """

    database_url: str = "sqlite:///comentarios.db"
    version: str = "development"
    commit: str = "unknown"
    log_level: str = "info"
    drain_seconds: float = 0.0
    host: str = "0.0.0.0"
    port: int = 8000
    max_reply_bytes: int = 144 * 1024
    busy_seconds: float = 5.0
    connect_seconds: float = 3.0

    def __post_init__(self) -> None:
        if not self.database_url.startswith(("sqlite:", "postgresql://", "postgres://")):
            scheme = urlsplit(self.database_url).scheme
            raise ConfigError(
                "DATABASE_URL must start with sqlite:/// or postgresql://, "
                f"this one starts with {scheme + ':' if scheme else 'no scheme'}"
            )
        if self.database_url.startswith("sqlite:") and not self.sqlite_path:
            raise ConfigError("DATABASE_URL must name a file: sqlite:////var/lib/comentarios/comentarios.db")
        if self.log_level not in LOG_LEVELS:
            raise ConfigError(f"LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}, not {self.log_level!r}")
        try:
            ipaddress.ip_address(self.host)
        except ValueError:
            raise ConfigError(f"HOST must be an IP address, not {self.host!r}") from None

    @property
    def sqlite_path(self) -> str:
        """The path of the database file, relative to the working directory unless absolute."""
        return self.database_url.partition("sqlite:///")[2]

    @classmethod
    def from_env(cls) -> "Settings":
        """Read the environment. Raises `ConfigError` on a value that cannot be used."""
        return cls(
            database_url=secret("DATABASE_URL") or cls.database_url,
            version=os.environ.get("COMENTARIOS_VERSION") or cls.version,
            commit=os.environ.get("COMENTARIOS_COMMIT") or cls.commit,
            log_level=(os.environ.get("LOG_LEVEL") or cls.log_level).lower(),
            drain_seconds=_number(float, "DRAIN_SECONDS", cls.drain_seconds, 0, 3600, "seconds"),
            host=os.environ.get("HOST") or cls.host,
            port=_number(int, "PORT", cls.port, 1, 65535, "a TCP port"),
        )


def secret(name: str) -> str | None:
    """A setting that may be a secret: from the file in NAME_FILE, or from the environment."""
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return os.environ.get(name)
    try:
        # Never the default instead of an empty file: comments would go into another database.
        if content := Path(path).read_text().strip():
            return content
        reason = "it is empty"
    except (OSError, UnicodeDecodeError) as error:
        reason = str(error.strerror) if isinstance(error, OSError) else "it is not text"
    raise ConfigError(f"{name}_FILE names {path}, which cannot be read: {reason}")


def _number(kind: type[Number], name: str, default: Number, least: int, most: int, unit: str) -> Number:
    text = os.environ.get(name) or str(default)
    try:
        value = kind(text)
        if least <= value <= most:
            return value
    except ValueError:
        pass
    raise ConfigError(f"{name} must be a number from {least} to {most} ({unit}), not {text!r}")
