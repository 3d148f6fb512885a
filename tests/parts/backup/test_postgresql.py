"""Backups of a real PostgreSQL."""

from __future__ import annotations

import time
from dataclasses import replace

import psycopg
from comentarios.config import Settings as ApiSettings
from comentarios.storage import open_storage
from comentarios.storage.base import NewComment, StorageUnavailable
from comentarios_backup import __main__ as program
from comentarios_backup.settings import Settings
from postgres import Postgres

from tests.support.backup import Writer


def test_backups_of_postgresql(settings: Settings, postgres: Postgres) -> None:
    """Dumped, restored beside and swapped while the API's storage holds connections."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE comentarios")
    url = postgres.url.replace("/postgres", "/comentarios")
    settings = replace(settings, database_url=url)
    with Writer(url) as writer:
        writer.wait(20)
        before = writer.acknowledged
        made = program.run(settings)
    later = open_storage(ApiSettings(database_url=url))
    later.add(NewComment("1", "a@example.com", "after the backup", 0))
    done = program.restore(settings, "")
    assert done["comments"] == made["comments"] >= before and done["before"] > done["comments"]
    with psycopg.connect(url) as connection:
        texts = [row[0].split()[0] for row in connection.execute("SELECT comment FROM comments ORDER BY id")]
    assert texts == [str(number) for number in range(done["comments"])]
    # A replica whose connections were ended answers some requests with 503, and finds the restored database then.
    deadline = time.monotonic() + 10
    while True:
        try:
            later.add(NewComment("1", "a@example.com", "after the restore", 0))
            break
        except StorageUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    later.close()
