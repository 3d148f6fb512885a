"""The backups in S3: one object each, described by its metadata."""

import gzip
import hashlib
import os
import shutil
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

# boto3 itself would take a third of the time of a short command.
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from .settings import BackupError, ForeignError, Settings

CHUNK = 1 << 20
# Prefixes for the bucket's lifecycle (terraform/storage.tf).
DAILY = "daily-"
CONNECTIONS = 16
# Separates the name and the version of an overwritten object.
VERSION_SEPARATOR = "@"


@dataclass(frozen=True)
class Backup:
    """Attributes:
    name: the object's key without the prefix: time, then what kind of database; of an overwritten one its version, too.
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
        self._s3: Any = botocore.session.get_session().create_client(
            "s3",
            region_name=settings.region,
            config=Config(
                retries={"max_attempts": 5, "mode": "standard"},
                connect_timeout=10,
                read_timeout=60,
                max_pool_connections=CONNECTIONS,
            ),
        )

    def put(self, file: Path, packed: Path, name: str, comments: int, release: str) -> Backup:
        """Compresses a file, uploads it, and verifies it in S3.

        Raises:
            BackupError: S3 does not take it, or has something else.
        """
        digest = _pack(file, packed)
        with packed.open("rb") as body:
            self.send(body, self._key(name), comments=str(comments), release=release, sha256=digest)
        stored = self.get(name)
        if stored.sha256 != digest or stored.size != packed.stat().st_size:
            raise BackupError(f"{self._url(name)} differs from what was uploaded: try again")
        return stored

    def send(self, body: IO[bytes], key: str, **facts: str) -> None:
        """Uploads a file below a key that is new.

        Raises:
            BackupError: S3 does not take it.
        """
        bucket = self._settings.bucket
        with _explained(f"s3://{bucket}/{key} cannot be written"):
            try:
                # One PUT, so at most 5 GiB. S3 verifies the checksum and does not overwrite; the host's role may not
                # write in any other way.
                self._s3.put_object(
                    Bucket=bucket, Key=key, Body=body, Metadata=facts, ChecksumAlgorithm="SHA256", IfNoneMatch="*"
                )
            except ClientError as error:
                # A retry after a lost answer.
                if error.response["Error"]["Code"] != "PreconditionFailed":
                    raise

    def names(self) -> list[str]:
        """All backups, the oldest first. Overwritten versions follow the current one."""
        current, overwritten = set(), []
        for version in self._versions(""):
            if version["IsLatest"]:
                current.add(version["Key"])
            else:
                overwritten.append(version)
        # Deleted objects are not listed.
        older = [f"{one['Key']}{VERSION_SEPARATOR}{one['VersionId']}" for one in overwritten if one["Key"] in current]
        return sorted((key.removeprefix(self._settings.prefix) for key in [*current, *older]), key=made_at)

    def new_name(self, now: float) -> str:
        """The prefix for a new backup: the first one of a day is kept longer."""
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        day = f"{DAILY}{name.partition('T')[0]}"
        return name if any(one.startswith(day) for one in self.names()) else f"{DAILY}{name}"

    def get(self, name: str) -> Backup:
        """Raises BackupError if there is none of this name, or it is not ours."""
        try:
            head = self._s3.head_object(**self._where(name))
        except (BotoCoreError, ClientError) as error:
            raise BackupError(
                f"there is no backup {name}: `make backups` lists them{self._older(name)} ({_line(error)})"
            ) from None
        facts: dict[str, Any] = head["Metadata"]
        try:
            return Backup(name, head["ContentLength"], int(facts["comments"]), facts["release"], facts["sha256"])
        except (KeyError, ValueError):
            raise ForeignError(
                f"{name} was not made by this project: it has no checksum beside it{self._older(name)}"
            ) from None

    def fetch(self, backup: Backup, packed: Path, file: Path) -> None:
        """Downloads a backup and decompresses it into another file.

        Raises:
            BackupError: it differs from the uploaded one.
        """
        free = shutil.disk_usage(packed.parent).free
        if free < 2 * backup.size:
            raise BackupError(
                f"{packed.parent} has {free} bytes free, but {2 * backup.size} are needed: free some space"
            )
        # boto3's own, which continues after a lost connection.
        from s3transfer.manager import TransferManager

        where = self._where(backup.name)
        version = {name: where.pop(name) for name in ("VersionId",) if name in where}
        with (
            _explained(f"{backup.name} cannot be downloaded"),
            packed.open("xb") as target,
            TransferManager(self._s3) as manager,
        ):
            manager.download(where["Bucket"], where["Key"], target, version).result()
        try:
            digest = _unpack(packed, file, free - 2 * backup.size)
        except (OSError, EOFError, zlib.error) as error:
            raise BackupError(f"{backup.name} is corrupt: {error}{self._instead(backup.name)}") from None
        if digest != backup.sha256:
            raise BackupError(
                f"{backup.name} is corrupt: its checksum is not the one beside it{self._instead(backup.name)}"
            )

    def _instead(self, name: str) -> str:
        return f"; choose another (`make backups`){self._older(name)}"

    def _older(self, name: str) -> str:
        """For a message: the versions of an overwritten or deleted object; empty if there are none."""
        name = name.partition(VERSION_SEPARATOR)[0]
        versions = [one for one in self._versions(name) if one["Key"] == self._key(name) and not one["IsLatest"]]
        return "".join(f", or FROM={name}{VERSION_SEPARATOR}{one['VersionId']}" for one in versions)

    def _versions(self, name: str) -> Iterator[dict[str, Any]]:
        prefix = self._key(name)
        with _explained(f"{self._url(name)} cannot be listed"):
            paginator = self._s3.get_paginator("list_object_versions")
            for page in paginator.paginate(Bucket=self._settings.bucket, Prefix=prefix):
                yield from page.get("Versions", [])

    def _where(self, name: str) -> dict[str, str]:
        name, _, version = name.partition(VERSION_SEPARATOR)
        where = {"Bucket": self._settings.bucket, "Key": self._key(name)}
        return where | {"VersionId": version} if version else where

    def _key(self, name: str) -> str:
        return f"{self._settings.prefix}{name}"

    def _url(self, name: str) -> str:
        return f"s3://{self._settings.bucket}/{self._key(name)}"


def made_at(name: str) -> str:
    """Sorts backups by time."""
    return name.removeprefix(DAILY)


def _pack(file: Path, packed: Path) -> str:
    """Compresses a file; returns its checksum."""
    digest = hashlib.sha256()
    with _regular(file) as plain, gzip.open(packed, "xb", compresslevel=6) as to:
        while chunk := plain.read(CHUNK):
            digest.update(chunk)
            to.write(chunk)
    return digest.hexdigest()


def _unpack(packed: Path, file: Path, room: int) -> str:
    """Decompresses a file into a new one, which the folder's owner may read; returns its checksum."""
    digest = hashlib.sha256()
    with gzip.open(packed) as source, file.open("xb") as plain:
        os.fchmod(plain.fileno(), 0o644)
        while chunk := source.read(CHUNK):
            if (room := room - len(chunk)) < 0:
                raise OSError(f"there is not enough space in {file.parent}")
            digest.update(chunk)
            plain.write(chunk)
    return digest.hexdigest()


@contextmanager
def _regular(file: Path) -> Iterator[IO[bytes]]:
    """Opens a file of another user without following links or blocking on a FIFO."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BackupError(f"{file} is not a regular file: find out who created it")
        yield stream


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turns AWS's errors into one line."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise BackupError(f"{what} ({_line(error)})") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
