"""Backups on the host: by itself, by hand, restored, and the whole host lost."""

from __future__ import annotations

import re
import shlex

import boto3
import requests

from sandbox.config import Config
from tests.support import replies


def _post(up, comment: str, thread: str = "backup") -> None:
    replies.post(up.edge, thread, comment)


def _comments(up, thread: str = "backup") -> list[str]:
    return replies.comments(up.edge, thread)


def test_the_host_makes_backups_by_itself(up):
    timer = up.ssh("systemctl list-timers comentarios-backup.timer --no-legend").stdout
    assert "comentarios-backup.service" in timer
    started = up.ssh("sudo systemctl start comentarios-backup.service", timeout=120)
    assert started.returncode == 0, up.ssh("journalctl -u comentarios-backup -n 20 --no-pager").stdout
    metrics = up.ssh("cat /var/lib/node_exporter/textfile/backup.prom").stdout
    assert re.search(r"^comentarios_backup_last_success_timestamp_seconds \d+", metrics, re.MULTILINE)


def test_restore_brings_back_what_the_backup_holds(up):
    """What came after the backup is gone from the API, and kept on the host."""
    _post(up, "before")
    made = up.make("backup")
    assert made.returncode == 0, made.stdout
    name = re.search(r"(\d{8}T\d{6}Z-\w+\.sqlite\.gz): \d+ comments", made.stdout)[1]
    assert name in up.make("backups").stdout
    _post(up, "after")
    restored = up.make("restore")
    assert restored.returncode == 0, restored.stdout
    assert name in restored.stdout
    assert _comments(up) == ["before"]
    kept = re.search(r"is kept: (\S+)", restored.stdout)[1]
    query = "SELECT group_concat(comment) FROM comments WHERE content_id = 'backup'"
    program = f'import sqlite3; print(sqlite3.connect("{kept}").execute("{query}").fetchone()[0])'
    assert up.ssh(f"sudo python3 -c {shlex.quote(program)}").stdout.strip() == "before,after"
    _post(up, "later")
    assert _comments(up) == ["before", "later"]


def test_restore_refuses_a_foreign_file(up):
    """One line and a non-zero exit, and the API goes on."""
    config = Config()
    s3 = boto3.Session(aws_access_key_id="sandbox", aws_secret_access_key="sandbox", region_name="us-east-1").client(
        "s3", endpoint_url=config.endpoint
    )
    bucket = next(one["Name"] for one in s3.list_buckets()["Buckets"] if one["Name"].endswith("-backup"))
    key = "database/20000101T000000Z-beef.sqlite.gz"
    s3.put_object(Bucket=bucket, Key=key, Body=b"not a backup")
    try:
        done = up.make("restore", FROM=key.partition("/")[2])
    finally:
        s3.delete_object(Bucket=bucket, Key=key)
    assert done.returncode != 0 and "✗ 20000101T000000Z-beef.sqlite.gz was not made by this project" in done.stdout
    missing = up.make("restore", FROM="yesterday")
    assert missing.returncode != 0 and "✗ there is no backup yesterday: `make backups` lists them" in missing.stdout
    assert requests.get(f"{up.edge}/readyz", timeout=10).status_code == 200
