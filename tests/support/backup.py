"""The backup program's environment: an S3 API, a host's settings, and a database with constant writes."""

from __future__ import annotations

import functools
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
from botocore.loaders import create_loader
from comentarios.config import Settings as ApiSettings
from comentarios.storage import open_storage
from comentarios.storage.base import NewComment
from comentarios_backup import __main__ as program
from comentarios_backup.settings import Settings
from moto.server import ThreadedMotoServer

BUCKET = "comentarios-123456789012-us-east-1-backup"


@contextmanager
def s3_api() -> Iterator[Any]:
    """A client of an S3 API of its own, with the bucket, which keeps versions; the program finds it, too."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        # The program reads S3's description once for each of its commands, which are many here.
        once = mock.patch("botocore.session.create_loader", functools.cache(create_loader))
        with mock.patch.dict("os.environ", environment), once:
            client = boto3.client("s3", region_name="us-east-1")
            client.create_bucket(Bucket=BUCKET)
            client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
            yield client
    finally:
        server.stop()


def settings_in(folder: Path) -> Settings:
    """A host's settings, everything in one folder, with an empty place in the bucket."""
    (folder / "data").mkdir()
    return Settings(
        bucket=BUCKET,
        prefix=f"{folder.name}/",
        logs=f"logs/{folder.name}/",
        region="us-east-1",
        database_url="",
        sqlite_file=folder / "data" / "comentarios.db",
        work_dir=folder / "work",
        metrics_file=folder / "backup.prom",
    )


class NoContainers:
    """Stands in for the API's containers, which tests/site has: there are none to stop."""

    def release(self) -> str:
        return "abc123"

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()

    def stop(self) -> list[str]:
        return []

    def start(self, _: list[str]) -> None:
        pass


class Writer:
    """The API's own storage, written to without a pause by a thread; ``acknowledged`` grows after each commit."""

    def __init__(self, url: str):
        self._storage = open_storage(ApiSettings(database_url=url))
        self._stop = threading.Event()
        self.acknowledged = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Writer:
        self._thread.start()
        self.wait(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._storage.close()

    def wait(self, count: int) -> None:
        """Until so many are acknowledged."""
        deadline = time.monotonic() + 30
        while self.acknowledged < count:
            assert time.monotonic() < deadline and self._thread.is_alive()
            time.sleep(0.002)

    def _run(self) -> None:
        while not self._stop.is_set():
            text = f"{self.acknowledged} " + "x" * 500
            self._storage.add(NewComment(content_id="1", email="a@example.com", comment=text, created_ms=0))
            self.acknowledged += 1


def write(settings: Settings, *comments: str) -> None:
    """Adds comments by the API's own storage."""
    storage = open_storage(ApiSettings(database_url=f"sqlite:///{settings.sqlite_file}"))
    for text in comments:
        storage.add(NewComment(content_id="1", email="a@example.com", comment=text, created_ms=0))
    storage.close()


def comments_in(file: Path) -> list[str]:
    """The first word of each comment of a whole database."""
    with closing(sqlite3.connect(file)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0].split()[0] for row in opened.execute("SELECT comment FROM comments ORDER BY id")]


def backups_under_writes(settings: Settings, count: int) -> list[dict[str, Any]]:
    """Makes backups while the API writes, and restores each elsewhere.

    Each must hold everything that was acknowledged when it began, without a gap, and restore to just that.
    """
    with Writer(f"sqlite:///{settings.sqlite_file}") as writer:
        made = []
        for number in range(count):
            writer.wait(10 * number)
            made.append((writer.acknowledged, program.run(settings)))
    for number, (before, backup) in enumerate(made):
        elsewhere = replace(settings, sqlite_file=settings.sqlite_file.with_name(f"restored-{number}.db"))
        done = program.restore(elsewhere, backup["name"])
        texts = [str(text) for text in range(done["comments"])]
        assert comments_in(elsewhere.sqlite_file) == texts and done["comments"] >= before, backup
    return [backup for _, backup in made]
