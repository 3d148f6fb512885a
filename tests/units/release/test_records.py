"""The records of a host's releases."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from comentarios_release import textfile
from comentarios_release.records import (
    CANCELLED,
    FAILED,
    GOOD,
    PHASES,
    RUNNING,
    Record,
    Records,
)
from comentarios_release.settings import ReleaseError, Settings


@pytest.fixture
def records(folder: Path) -> Records:
    return Records(folder)


def add(records: Records, number: int, outcome: str = GOOD, **values: Any) -> Record:
    """A release that has ended; the live one when it was good."""
    standard: dict[str, Any] = {
        "kind": "release",
        "origin": number,
        "previous": number - 1 or None,
        "image": f"registry/comentarios-api:v{number}",
        "finished": 1000.0 * number + 60,
    }
    record = Record(
        number=number,
        owner="ana@laptop",
        run=f"run-{number}",
        watch_seconds=60,
        started=1000.0 * number,
        outcome=outcome,
        **standard | values,
    )
    (records.new / "config").mkdir(parents=True)
    records.add(record)
    if outcome == GOOD:
        records.set_live(number)
    return record


def numbers(found: list[Record]) -> list[int]:
    return [record.number for record in found]


def test_what_was_saved_is_read(records: Records) -> None:
    record = add(records, 1, RUNNING, finished=None, baseline={"error_ratio": 0.5, "slow": 0.1})
    records.reach(record, "started")
    found = records.get(1)
    assert found == record and found.tag == "v1"
    assert found.reached("created") and found.reached("started") and not found.reached("ready")
    assert time.time() - found.times["started"] < 10


def test_record_of_an_earlier_version(records: Records) -> None:
    add(records, 1)
    file = records.folder(1) / "release.json"
    file.write_text(file.read_text().replace('"run": "run-1"', '"token": "run-1"'))
    assert records.get(1).run == ""


def test_phases_are_in_order(records: Records) -> None:
    record = add(records, 1)
    for index, phase in enumerate(PHASES):
        records.reach(record, phase)
        assert [record.reached(other) for other in PHASES] == [place <= index for place in range(len(PHASES))]


def test_unknown_one(records: Records) -> None:
    with pytest.raises(ReleaseError, match="there is no release 7: `make releases` lists them"):
        records.get(7)


def test_live_pointer(records: Records) -> None:
    assert records.live() is None
    add(records, 1)
    add(records, 2)
    records.set_live(1)
    live = records.live()
    assert live and live.number == 1
    (records.folder(1).parent / "live.json").write_text("")
    with pytest.raises(ReleaseError, match="live.json is damaged"):
        records.live()


def test_oldest_first_by_number_and_nothing_else_in_the_folder_counts(records: Records) -> None:
    for number in (10, 9, 2):
        add(records, number)
    for name in ("staged", "new", "removed-1", "3.old"):
        (records.folder(1).parent / name).mkdir()
    # Its record is not there yet, or is there no longer.
    records.folder(4).mkdir()
    assert numbers(records.all()) == [2, 9, 10]
    assert records.next_number() == 11


def test_first_number(records: Records) -> None:
    assert records.next_number() == 1
    (records.new / "config").mkdir(parents=True)
    assert records.next_number() == 1


def test_unfinished_is_what_somebody_has_to_carry_on_with(records: Records) -> None:
    assert records.unfinished() is None
    add(records, 1)
    assert records.unfinished() is None
    add(records, 2, RUNNING, finished=None)
    found = records.unfinished()
    assert found and found.number == 2
    found.outcome = GOOD
    records.save(found)
    assert records.unfinished() == found
    found.finished = 1.0
    records.save(found)
    assert records.unfinished() is None


def test_back_to_the_last_good_one(records: Records) -> None:
    add(records, 1)
    add(records, 2)
    add(records, 3, FAILED)
    add(records, 4, CANCELLED)
    assert records.last_good_before(add(records, 5)).number == 2


def test_rollbacks_are_no_place_to_go_back_to(records: Records) -> None:
    add(records, 1)
    add(records, 2, kind="rollback", origin=1)
    assert records.last_good_before(add(records, 3)).number == 1


def test_nothing_to_go_back_to(records: Records) -> None:
    add(records, 1, FAILED)
    with pytest.raises(ReleaseError, match="no good release before the live one to go back to"):
        records.last_good_before(add(records, 2))


def test_found_by_number_or_tag(records: Records) -> None:
    add(records, 1, image="registry/comentarios-api:abc")
    add(records, 2, FAILED, image="registry/comentarios-api:bad")
    add(records, 3, image="registry/comentarios-api:abc")
    add(records, 4, FAILED, image="registry/comentarios-api:abc")
    assert records.find("1").number == 1
    assert records.find("abc").number == 3
    with pytest.raises(ReleaseError, match=r"release bad failed: go back to a good one"):
        records.find("bad")
    with pytest.raises(ReleaseError, match="there is no release 9 on this host"):
        records.find("9")


@pytest.mark.parametrize(
    ("live", "keep_images", "keep_records", "images", "old"),
    [
        (8, 5, 20, {8, 7, 6, 5, 4}, []),
        (8, 5, 4, {8, 7, 6, 5, 4}, [1, 2, 3, 4, 5]),
        # The live one, and the one before it, are kept however old they are.
        (2, 5, 4, {2, 8, 7, 6, 5}, [3, 4, 5]),
        (2, 2, 2, {2, 8}, [3, 4, 5, 6, 7]),
        (8, 1, 1, {8}, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_what_is_kept(
    records: Records, live: int, keep_images: int, keep_records: int, images: set[int], old: list[int]
) -> None:
    for number in range(1, 9):
        add(records, number)
    add(records, 9, CANCELLED)
    records.set_live(live)
    kept, gone = records.prune(keep_images, keep_records)
    assert kept == {f"registry/comentarios-api:v{number}" for number in images}
    assert numbers(gone) == old


def test_what_a_rollback_went_back_to_is_kept(records: Records) -> None:
    for number in range(1, 6):
        add(records, number)
    add(records, 6, kind="rollback", origin=1, image="registry/comentarios-api:v1")
    kept, gone = records.prune(2, 2)
    assert kept == {"registry/comentarios-api:v1", "registry/comentarios-api:v5"}
    assert numbers(gone) == [2, 3, 4]


def test_same_image_counts_once(records: Records) -> None:
    for number in range(1, 6):
        add(records, number, image=f"registry/comentarios-api:v{number // 2}")
    assert records.prune(3, 5) == ({f"registry/comentarios-api:v{version}" for version in (0, 1, 2)}, [])


def test_nothing_live_yet(records: Records) -> None:
    add(records, 1, FAILED)
    assert records.prune(2, 2) == (set(), [])


def test_removed_in_one_step_and_what_a_killed_run_left_goes_too(records: Records) -> None:
    kept = [add(records, number) for number in (1, 2, 3)]
    left = records.folder(9).with_name("removed-9")
    left.mkdir()
    records.remove(kept[:2])
    assert [path.name for path in records.folder(3).parent.iterdir() if path.is_dir()] == ["3"]


def test_readers_meanwhile_see_whole_records(records: Records) -> None:
    """`make releases` and `wait` read while the unit writes."""
    add(records, 1)
    ended, problems, seen = threading.Event(), [], set()

    def read() -> None:
        while not ended.is_set():
            try:
                live = records.live()
                assert live and live.outcome == GOOD
                seen.add((live.number, *numbers(records.all())))
                records.unfinished()
            except Exception as error:
                problems.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(2, 40):
        record = add(records, number, RUNNING, finished=None)
        for phase in PHASES:
            records.reach(record, phase)
        record.outcome, record.finished = GOOD, 1.0
        records.save(record)
        records.set_live(number)
        if number > 20:
            records.remove([records.get(number - 20)])
    ended.set()
    for reader in readers:
        reader.join()
    assert problems == [] and len(seen) > 3


# --- settings and metrics


def test_settings(folder: Path) -> None:
    file = folder / "release.json"
    file.write_text('{"stack_dir": "/srv/stack", "textfile": "/srv/metrics.prom", "keep_images": 3, "domain": "a.b"}')
    assert Settings.read(file) == Settings(
        stack_dir=Path("/srv/stack"), textfile=Path("/srv/metrics.prom"), keep_images=3, domain="a.b"
    )
    assert Settings.read(file).staged("one") == Path("/srv/stack/staged/one")
    assert Settings().edge_socket == Path("/var/lib/comentarios-edge/run/master.sock")


@pytest.mark.parametrize("text", [None, "", "[1]", '{"ready": 1}', '{"stack_dir": 1}'])
def test_settings_that_cannot_be_used(folder: Path, text: str | None) -> None:
    file = folder / "release.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ReleaseError, match=r"release.json cannot be used \(.*\): `make up` writes it again"):
        Settings.read(file)


@pytest.mark.parametrize(
    ("kind", "times", "finished", "since"),
    [
        ("release", {"switched": 3010.0}, 3020.0, 3010),
        ("configuration", {}, 3020.0, 3020),
        ("rollback", {}, None, 3000),
    ],
)
def test_metrics(
    records: Records, folder: Path, kind: str, times: dict[str, float], finished: float | None, since: int
) -> None:
    live = add(records, 3, kind=kind, times=times, finished=finished)
    textfile.publish(folder / "release.prom", live, True)
    assert (folder / "release.prom").read_text().splitlines() == [
        "# HELP comentarios_release_info The live release.",
        "# TYPE comentarios_release_info gauge",
        'comentarios_release_info{version="v3"} 1.000',
        "# HELP comentarios_release_last_success Whether the last release succeeded.",
        "# TYPE comentarios_release_last_success gauge",
        "comentarios_release_last_success 1.000",
        "# HELP comentarios_release_timestamp_seconds When the live release became live.",
        "# TYPE comentarios_release_timestamp_seconds gauge",
        f'comentarios_release_timestamp_seconds{{kind="{kind}",version="v3"}} {since}.000',
    ]
    # The node exporter is another user.
    assert (folder / "release.prom").stat().st_mode & 0o777 == 0o644


def test_metrics_of_a_host_on_which_the_first_release_failed(folder: Path) -> None:
    textfile.publish(folder / "release.prom", None, False)
    text = (folder / "release.prom").read_text()
    assert "comentarios_release_last_success 0.000" in text and "version" not in text
