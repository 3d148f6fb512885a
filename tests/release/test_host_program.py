"""The program that carries out releases on the host, as far as it can be tried without one."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "roles" / "release" / "files"))

from comentarios_release import files, textfile
from comentarios_release.lock import LockFile
from comentarios_release.records import CANCELLED, FAILED, GOOD, ROLLED_BACK, Record, Records
from comentarios_release.settings import ReleaseError
from comentarios_release.watch import Baseline, Sample, Watch, latency, requests

QUIET = Baseline(error_ratio=0.0, slow=0.05)


@pytest.fixture
def records(tmp_path) -> Records:
    return Records(tmp_path)


def add(records: Records, number: int, outcome: str = GOOD, kind: str = "release", **values) -> Record:
    """A release that has ended; the live one when it was good."""
    record = Record(
        number=number,
        kind=kind,
        origin=values.pop("origin", number),
        previous=values.pop("previous", number - 1 or None),
        owner="ana@laptop",
        token=f"run-{number}",
        watch_seconds=60,
        started=1000.0 * number,
        image=values.pop("image", f"registry/comentarios-api:v{number}"),
        outcome=outcome,
        **values,
    )
    (records.new / "config").mkdir(parents=True)
    records.add(record)
    if outcome == GOOD:
        records.set_live(number)
    return record


# --- lock


def test_second_is_refused_with_the_owners_name(tmp_path):
    lock = LockFile(tmp_path)
    lock.take("ana@laptop", "one", 60)
    with pytest.raises(ReleaseError, match="ana@laptop is releasing"):
        lock.take("rui@desk", "two", 60)
    assert lock.holder().owner == "ana@laptop"


def test_lock_of_a_dead_run_counts_no_longer(tmp_path):
    lock = LockFile(tmp_path)
    lock.take("ana@laptop", "one", 60)
    lock.take("rui@desk", "two", 60, abandoned=("one",))
    assert lock.holder().owner == "rui@desk"


def test_lock_expires(tmp_path):
    lock = LockFile(tmp_path)
    lock.take("ana@laptop", "one", 0.05)
    time.sleep(0.1)
    assert lock.holder() is None
    lock.take("rui@desk", "two", 60)
    assert lock.holder().token == "two"


def test_only_its_holder_gives_the_lock_back(tmp_path):
    lock = LockFile(tmp_path)
    lock.take("ana@laptop", "one", 60)
    lock.release("two")
    assert lock.holder().token == "one"
    lock.release("one")
    assert lock.holder() is None


# --- records


def test_rollback_goes_to_the_last_good_one(records):
    add(records, 1)
    add(records, 2)
    add(records, 3, FAILED)
    live = add(records, 4)
    assert records.before(live).number == 2


def test_second_rollback_goes_further_back(records):
    add(records, 1)
    add(records, 2)
    add(records, 3, ROLLED_BACK)
    live = add(records, 4, kind="rollback", origin=2)
    assert records.before(live).number == 1


def test_nothing_to_go_back_to(records):
    add(records, 1, FAILED)
    live = add(records, 2)
    with pytest.raises(ReleaseError, match="no good release before"):
        records.before(live)


def test_release_by_number_or_tag(records):
    add(records, 1, image="registry/comentarios-api:abc")
    add(records, 2, FAILED, image="registry/comentarios-api:bad")
    assert records.find("1").number == records.find("abc").number == 1
    with pytest.raises(ReleaseError, match="release bad failed"):
        records.find("bad")
    with pytest.raises(ReleaseError, match="no release 9"):
        records.find("9")


def test_five_images_stay_and_the_live_one_always(records):
    for number in range(1, 9):
        add(records, number)
    add(records, 9, CANCELLED)
    records.set_live(2)
    images, old = records.prune(keep_images=5, keep_records=4)
    assert images == {f"registry/comentarios-api:v{number}" for number in (2, 8, 7, 6, 5)}
    assert [record.number for record in old] == [3, 4, 5]


def test_half_copied_release_is_none(records):
    add(records, 1)
    (records.new / "config").mkdir(parents=True)
    assert [record.number for record in records.all()] == [1]
    assert records.next_number() == 2


# --- configuration


def test_place_copies_what_differs_removes_what_is_gone_and_leaves_secrets(tmp_path):
    wanted, live = tmp_path / "wanted", tmp_path / "live"
    for root, rule in ((wanted, "new"), (live, "old")):
        (root / "prometheus" / "rules").mkdir(parents=True)
        (root / "prometheus" / "rules" / "slo.yml").write_text(rule)
        (root / "haproxy").mkdir()
        (root / "haproxy" / "haproxy.cfg").write_text("same")
    (live / "prometheus" / "rules" / "gone.yml").write_text("x")
    (live / "alertmanager" / "secrets").mkdir(parents=True)
    (live / "alertmanager" / "secrets" / "token").write_text("rotated")
    changed = files.place(wanted, live)
    assert changed == {"prometheus/rules/slo.yml", "prometheus/rules/gone.yml"}
    assert (live / "prometheus" / "rules" / "slo.yml").read_text() == "new"
    assert not (live / "prometheus" / "rules" / "gone.yml").exists()
    assert (live / "alertmanager" / "secrets" / "token").read_text() == "rotated"
    assert files.place(wanted, live) == set()


# --- watch


def counted(requests: float, errors: float = 0, slow: float = 0) -> Sample:
    return Sample(requests, errors, {0.05: requests - slow, 0.25: requests - slow, 2.5: requests})


def judge_all(watch: Watch, samples: list[Sample]) -> str:
    return next((problem for sample in samples if (problem := watch.judge(sample))), "")


def test_release_as_good_as_the_old_one_passes():
    watch = Watch(QUIET, counted(1000))
    assert judge_all(watch, [counted(1000 + 200 * second) for second in range(1, 60)]) == ""


def test_errors_are_seen_within_two_seconds():
    watch = Watch(QUIET, counted(1000))
    assert watch.judge(counted(1200)) == ""
    assert "failed (200 of 400), 0.0% before" in watch.judge(counted(1400, errors=200))


def test_few_errors_in_the_whole_watch_are_seen():
    watch = Watch(QUIET, counted(0))
    assert "of the watch failed" in judge_all(
        watch, [counted(20 * second, errors=second // 2) for second in range(1, 60)]
    )


def test_errors_that_the_old_release_had_too_are_no_reason():
    watch = Watch(Baseline(error_ratio=0.05, slow=0.05), counted(0))
    assert judge_all(watch, [counted(100 * second, errors=5 * second) for second in range(1, 60)]) == ""


def test_slow_release_is_seen_and_one_slow_second_is_not():
    watch = Watch(QUIET, counted(0))
    once = [counted(200), counted(400, slow=200), *(counted(200 * second, slow=200) for second in range(3, 30))]
    assert judge_all(watch, once) == ""
    watch = Watch(QUIET, counted(0))
    assert "took longer than 0.25 s" in judge_all(
        watch, [counted(200 * second, slow=100 * second) for second in range(1, 10)]
    )


def test_counters_may_begin_anew():
    watch = Watch(QUIET, counted(5000, errors=10))
    assert judge_all(watch, [counted(200 * second) for second in range(1, 10)]) == ""


def test_baseline_takes_the_whole_time_where_the_window_saw_too_little():
    assert Baseline.of(counted(3, errors=3), counted(1000, errors=10)).error_ratio == 0.01
    assert Baseline.of(Sample(), Sample()) == Baseline(0.0, 0.25)


def test_requests_that_the_edge_counted():
    statistics = """# pxname,svname,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,
public,FRONTEND,0,900,0,90,9,0,
api,api1,0,90,0,7,1,0,
api,BACKEND,0,90,0,7,2,0,
crowd,BACKEND,0,10,0,0,5,0,
clients,BACKEND,,,,,,,

"""
    assert requests(statistics) == (114, 7)


def test_latency_of_the_replicas_without_their_probes():
    one = """
flask_http_request_duration_seconds_bucket{le="0.25",method="GET",status="200",url_rule="/api/comment/list/<content_id>"} 90
flask_http_request_duration_seconds_bucket{le="+Inf",method="GET",status="200",url_rule="/api/comment/list/<content_id>"} 100
flask_http_request_duration_seconds_count{method="GET",status="200",url_rule="/api/comment/list/<content_id>"} 100
flask_http_request_duration_seconds_bucket{le="0.25",method="GET",status="200",url_rule="/healthz"} 5000
flask_http_request_duration_seconds_bucket{le="+Inf",method="GET",status="200",url_rule="/healthz"} 5000
"""
    assert latency([one, one]) == {0.25: 180, float("inf"): 200}


# --- metrics


def test_textfile(tmp_path, records):
    live = add(records, 3, times={"switched": 3010.0})
    textfile.publish(tmp_path / "release.prom", live, False)
    lines = (tmp_path / "release.prom").read_text().splitlines()
    assert 'comentarios_release_info{version="v3"} 1.000' in lines
    assert 'comentarios_release_timestamp_seconds{version="v3"} 3010.000' in lines
    assert "comentarios_release_last_success 0.000" in lines
