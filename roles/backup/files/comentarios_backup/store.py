"""The backups in S3: one object each, its facts beside it as metadata."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .settings import BackupError, ForeignError, Settings

CHUNK = 1 << 20
# The bucket's lifecycle (terraform/storage.tf) goes by how names begin.
DAILY = "daily-"
CONNECTIONS = 16


@dataclass(frozen=True)
class Backup:
    """Attributes:
    name: the object's key without the prefix: time, then what kind of database.
    size: bytes in S3.
    comments: how many it holds.
    release: tag of the API that was live.
    sha256: of the file before it was compressed.
    """

    name: str
    size: int
    comments: int
    release: str
    sha256: str


class Store:
    def __init__(self, settings: Settings):
        self._settings = settings
        self._s3 = boto3.client(
            "s3",
            region_name=settings.region,
            config=Config(
                retries={"max_attempts": 5, "mode": "standard"},
                connect_timeout=10,
                read_timeout=60,
                max_pool_connections=CONNECTIONS,
            ),
        )

    def put(self, file: Path, name: str, comments: int, release: str) -> Backup:
        """Compresses and uploads a file, and looks at what S3 has then.

        Raises:
            BackupError: S3 does not take it, or has something else.
        """
        packed, digest = Path(f"{file}.gz"), sha256(file)
        with file.open("rb") as plain, gzip.open(packed, "wb", compresslevel=6) as target:
            shutil.copyfileobj(plain, target, CHUNK)
        facts = {"comments": str(comments), "release": release, "sha256": digest}
        with _explained(f"s3://{self._settings.bucket}/{self._settings.prefix}{name} cannot be written"):
            # S3 compares the checksum on arrival.
            extra = {"Metadata": facts, "ChecksumAlgorithm": "SHA256"}
            self._s3.upload_file(str(packed), self._settings.bucket, self._key(name), ExtraArgs=extra)
        stored = self.get(name)
        if stored.sha256 != digest or stored.size != packed.stat().st_size:
            raise BackupError(f"s3://{self._settings.bucket}/{self._key(name)} is not what was written: try again")
        return stored

    def names(self) -> list[str]:
        """Every backup, the oldest first."""
        with _explained(f"s3://{self._settings.bucket}/{self._settings.prefix} cannot be listed"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=self._settings.bucket, Prefix=self._settings.prefix
            )
            return sorted(
                (one["Key"].removeprefix(self._settings.prefix) for page in pages for one in page.get("Contents", [])),
                key=made_at,
            )

    def new_name(self, now: float) -> str:
        """How the name of a backup that is made now begins: the first one of a day is marked, to be kept for longer."""
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        day = f"{DAILY}{name.partition('T')[0]}"
        return name if any(one.startswith(day) for one in self.names()) else f"{DAILY}{name}"

    def get(self, name: str) -> Backup:
        """Raises BackupError when there is none of this name, or it is none of ours."""
        with _explained(f"there is no backup {name}: `make backups` lists them"):
            head = self._s3.head_object(Bucket=self._settings.bucket, Key=self._key(name))
        facts: dict[str, Any] = head["Metadata"]
        try:
            return Backup(name, head["ContentLength"], int(facts["comments"]), facts["release"], facts["sha256"])
        except (KeyError, ValueError):
            raise ForeignError(f"{name} was not made by this project: it has no checksum beside it") from None

    def fetch(self, backup: Backup, file: Path) -> None:
        """Downloads and unpacks a backup.

        Raises:
            BackupError: it is not what was uploaded.
        """
        packed = Path(f"{file}.gz")
        free = shutil.disk_usage(file.parent).free
        if free < 12 * backup.size:
            raise BackupError(f"{file.parent} has {free} bytes free, too few to unpack {backup.size}: make room")
        with _explained(f"{backup.name} cannot be downloaded"):
            self._s3.download_file(self._settings.bucket, self._key(backup.name), str(packed))
        try:
            with gzip.open(packed) as source, file.open("wb") as plain:
                shutil.copyfileobj(source, plain, CHUNK)
        except (OSError, EOFError, zlib.error) as error:
            raise BackupError(f"{backup.name} is corrupt: {error}; choose another (`make backups`)") from None
        if sha256(file) != backup.sha256:
            raise BackupError(f"{backup.name} is corrupt: its checksum is not the one beside it; choose another")

    def _key(self, name: str) -> str:
        return f"{self._settings.prefix}{name}"


def made_at(name: str) -> str:
    """What orders backups by when they were made."""
    return name.removeprefix(DAILY)


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _explained:
    """Turns AWS's errors into one line."""

    def __init__(self, what: str):
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (BotoCoreError, ClientError)) or type(error).__name__ == "S3UploadFailedError":
            raise BackupError(f"{self._what} ({' '.join(str(error).split())})") from None
