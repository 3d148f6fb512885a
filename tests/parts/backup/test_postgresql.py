"""Backups of a real PostgreSQL."""

from __future__ import annotations

import time
from dataclasses import replace

import psycopg
import pytest
from comentarios.config import Settings as ApiSettings
from comentarios.storage import Moderation, open_storage
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


@pytest.mark.parametrize("schema", [1, 2])
def test_what_operators_changed_after_the_backup(settings: Settings, postgres: Postgres, schema: int) -> None:
    """It is changed again when the API starts with the restored database, which may have had no audit log."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE moderated{schema}".encode())
    url = postgres.url.replace("/postgres", f"/moderated{schema}")
    settings = replace(settings, database_url=url)
    live = open_storage(ApiSettings(database_url=url))
    for email in ("a@example.com", "b@example.com", "a@example.com", "c@example.com"):
        live.add(NewComment("1", email, "text", 0))
    with psycopg.connect(url, autocommit=True) as connection:
        if schema == 1:
            connection.execute("ALTER TABLE audit RENAME TO audit_later")
            connection.execute("ALTER INDEX audit_pkey RENAME TO audit_later_pkey")
            connection.execute("ALTER INDEX audit_by_done RENAME TO audit_later_by_done")
            connection.execute("DELETE FROM schema_version WHERE version = 2")
            program.run(settings)
            connection.execute("INSERT INTO schema_version VALUES (2)")
            connection.execute("ALTER TABLE audit_later RENAME TO audit")
        else:
            program.run(settings)
    Moderation(live.engine).hide([2], "me", "a\ttab, a \\. and 'quotes'")
    Moderation(live.engine).erase("a@example.com", "me", "asked")
    live.close()
    done = program.restore(settings, "")
    restored = open_storage(ApiSettings(database_url=url))
    restored.ensure_migrated()
    operator = Moderation(restored.engine)
    assert [(one["email"], one["hidden"]) for one in operator.search(10)] == [
        ("c@example.com", False),
        ("b@example.com", True),
    ]
    assert [(one["action"], one["comments"]) for one in operator.audit(10)] == [("erase", 2), ("hide", 1)]
    assert operator.audit(10)[1]["why"] == "a\ttab, a \\. and 'quotes'"
    assert restored.engine.kept() == [done["kept"]]
    restored.close()
