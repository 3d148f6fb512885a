"""The settings in /etc/comentarios/backup.json, written by role backup."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

FILE = Path("/etc/comentarios/backup.json")


class BackupError(Exception):
    """One line: what failed, and what to do."""


class ForeignError(BackupError):
    """The object in S3 is not one of our backups."""


@dataclass(frozen=True)
class Settings:
    """Attributes:
    bucket, prefix: where the backups are in S3; the prefix ends with a slash.
    logs: prefix of the host's own logs.
    region: the bucket's.
    database_url: PostgreSQL's URL; empty: the SQLite file.
    sqlite_file: the API's database.
    work_dir: folder for copies on their way, with room for one of the database.
    metrics_file: what the node exporter reads.
    """

    bucket: str
    prefix: str
    logs: str
    region: str
    database_url: str
    sqlite_file: Path
    work_dir: Path
    metrics_file: Path

    @classmethod
    def read(cls, file: Path = FILE) -> Self:
        """Raises BackupError if the file is missing or cannot be read."""
        paths = ("sqlite_file", "work_dir", "metrics_file")
        try:
            values: dict[str, Any] = json.loads(file.read_text())
            values |= {name: Path(value) for name, value in values.items() if name in paths}
            return cls(**values)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise BackupError(
                f"{file} cannot be read ({error}): run `ansible-playbook site.yml --tags backup`"
            ) from None
