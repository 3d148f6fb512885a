"""A host sends each log line once, whatever fails in between."""

from __future__ import annotations

import gzip
import time
from types import SimpleNamespace
from typing import Any

import pytest
from comentarios_backup import logs
from comentarios_backup.settings import BackupError, Settings

from tests.support.backup import BUCKET
from tests.support.stand_ins import StandIns


@pytest.fixture
def host(programs: StandIns) -> StandIns:
    """One whose containers and journal have a line each, which says for what time they were asked."""
    programs.add("docker", 'case "$1" in ps) echo comentarios-api-1 ;; logs) echo "$*" >&2 ;; esac')
    programs.add("journalctl", 'shift 4; echo "$*"')
    return programs


def at(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    clock = SimpleNamespace(time=lambda: seconds + 0.5, strftime=time.strftime, gmtime=time.gmtime)
    monkeypatch.setattr(logs, "time", clock)


def sent(s3: Any, name: str) -> list[str]:
    return gzip.decompress(s3.get_object(Bucket=BUCKET, Key=name)["Body"].read()).decode().splitlines()


def test_each_time_begins_where_the_last_one_ended(
    settings: Settings, host: StandIns, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for now, name, begin in (
        (7200, "19700101T010000Z-19700101T020000Z.gz", 3600),
        (8100, "19700101T020000Z-19700101T021500Z.gz", 7200),
    ):
        at(monkeypatch, now)
        assert logs.send(settings)["name"] == f"{settings.logs}{name}"
        assert sent(s3, f"{settings.logs}{name}") == [
            f"api-1  | logs --since={begin} --until={now} comentarios-api-1",
            f"journal  | --since=@{begin} --until=@{now}",
        ]
    assert [path.name for path in settings.work_dir.iterdir()] == ["logs.reached"]
    at(monkeypatch, 8000)
    assert logs.send(settings)["name"] == ""


def test_what_could_not_be_sent_is_sent_the_next_time(
    settings: Settings, host: StandIns, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 7200)
    logs.send(settings)
    at(monkeypatch, 8100)
    host.add("journalctl", "exit 1")
    with pytest.raises(BackupError, match="journalctl cannot read the logs: exit status 1"):
        logs.send(settings)
    host.add("journalctl")
    with monkeypatch.context() as broken:
        broken.setattr(logs.Store, "send", lambda *_: (_ for _ in ()).throw(BackupError("S3 is away")))
        with pytest.raises(BackupError, match="S3 is away"):
            logs.send(settings)
    assert [path.name for path in settings.work_dir.iterdir()] == ["logs.reached"], "what fills the disk stays"
    at(monkeypatch, 9000)
    made = logs.send(settings)["name"]
    assert made.endswith("/19700101T020000Z-19700101T023000Z.gz")
    assert sent(s3, made) == ["api-1  | logs --since=7200 --until=9000 comentarios-api-1"]


def test_answer_of_s3_that_was_lost(
    settings: Settings, host: StandIns, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second try finds what the first one has stored."""
    at(monkeypatch, 7200)
    made = logs.send(settings)
    (settings.work_dir / "logs.reached").unlink()
    assert logs.send(settings)["name"] == made["name"]
