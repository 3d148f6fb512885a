"""A release that is interrupted at any point continues, and ends as without the interruption."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from comentarios_release.records import CANCELLED, FAILED, GOOD, ROLLED_BACK
from comentarios_release.settings import ReleaseError

from tests.support.world import EDGE_FILE, Points, World, ask_to_end, copy_of, fail, receiver

# What is released over v1 so that everything has to be done: another image, edge and monitoring.
EVERYTHING: dict[str, Any] = {"edge": " of v2", "rules": "rules of v2", "others": receiver("two")}


def at_each_point(
    world: World, folder: Path, how: Callable[[], None] | None = None, first: int = 0
) -> Iterator[tuple[World, str]]:
    """The release that has begun, interrupted at each point in turn; yields the world and the point's name."""
    for at in itertools.count(first):
        one, points = copy_of(world, folder / f"at-{at}"), Points(at, how)
        if not one.interrupted(points):
            assert at - first >= 8, points.passed
            return
        yield one, f"{at}: {points.passed[at]}"


def ended(world: World, folder: Path) -> dict[str, Any]:
    """How it looks when nobody interrupts it."""
    one = copy_of(world, folder / "reference")
    one.work()
    return one.state()


def test_killed_anywhere_it_ends_as_if_nothing_had_happened(world: World, folder: Path) -> None:
    number = world.begin("v2", watch=2, **EVERYTHING)
    expected = ended(world, folder)
    assert expected["live"] == number and expected["loaded"]["edge"].endswith("of v2")
    for one, point in at_each_point(world, folder):
        one.work()
        assert one.state() == expected, point
        assert one.records.get(number).outcome == GOOD, point


# Ways in which a release does not end well, each at another step, and what it says then.
UNDONE: dict[str, tuple[dict[str, Any], str, str]] = {
    "replicas exit at their start": ({"behaves": "exits"}, FAILED, "ended at its start (status 1); the last lines"),
    "replicas restart at their start": ({"behaves": "restarts"}, FAILED, "ended at its start"),
    "replicas never get ready": ({"behaves": "unready"}, FAILED, ":8000/readyz answered 503: {"),
    "the other services do not come up": ({"broken_up": True}, FAILED, "comentarios-edge-1 is unhealthy"),
    "Prometheus does not load its configuration": (
        {"refuses": True},
        FAILED,
        "prometheus does not load its configuration: `make logs",
    ),
    "the edge does not reach them": ({"deaf": True}, FAILED, "does not reach the new replicas: http://"),
    "requests fail": ({"behaves": "fails"}, ROLLED_BACK, "25.0% of the requests of the last 1 s failed (50 of 200)"),
    "a replica ends while it serves": ({"behaves": "dies"}, ROLLED_BACK, "ended (status 3); the last lines of"),
    "a replica restarts while it serves": ({"behaves": "crashes"}, ROLLED_BACK, "ended (status 0)"),
    "replicas are not ready any more": ({"behaves": "stalls"}, ROLLED_BACK, "answered 503: {"),
}


def begin_bad(
    world: World, behaves: str = "", broken_up: bool = False, refuses: bool = False, deaf: bool = False
) -> int:
    """A release of v2 that will not end well."""
    number = world.begin("v2", watch=5, **EVERYTHING)
    world.refuses = refuses
    if behaves:
        world.behaves["v2"] = behaves
    if broken_up:
        world.broken_up.add("v2")
    if deaf:
        world.deaf.add(world.records.get(number).identity)
    return number


@pytest.mark.parametrize("why", UNDONE)
def test_undone_everything_is_as_before(world: World, why: str) -> None:
    before = world.state()
    bad, outcome, reason = UNDONE[why]
    number = begin_bad(world, **bad)
    world.work()
    record = world.records.get(number)
    assert record.outcome == outcome and reason in record.reason, record.reason
    assert record.finished
    assert world.state() == before
    assert "comentarios_release_last_success 0.000" in world.settings.textfile.read_text()


@pytest.mark.parametrize("why", UNDONE)
def test_killed_anywhere_it_is_undone_all_the_same(world: World, folder: Path, why: str) -> None:
    """Within the undo, too."""
    before = world.state()
    bad, outcome, _ = UNDONE[why]
    good = copy_of(world, folder / "good")
    begin_bad(good)
    number = begin_bad(world, **bad)
    # Until they part they are the same: those points have a test of their own.
    common = os.path.commonprefix([good.count(), world.count()])
    for one, point in at_each_point(world, folder, first=len(common)):
        one.work()
        assert one.state() == before, point
        assert one.records.get(number).outcome == outcome, point


def test_killed_again_while_it_carries_on(world: World, folder: Path) -> None:
    number = world.begin("v2", watch=2, **EVERYTHING)
    expected = ended(world, folder)
    for one, point in itertools.islice(at_each_point(world, folder), 0, None, 6):
        for again in range(0, 40, 8):
            two = copy_of(one, one.folder.with_name(f"{one.folder.name}-{again}"))
            two.interrupted(Points(again))
            two.work()
            assert two.state() == expected, (point, again)
            assert two.records.get(number).outcome == GOOD, (point, again)


def test_cancelled_anywhere_it_is_undone_or_complete(world: World, folder: Path) -> None:
    before = world.state()
    number = world.begin("v2", watch=2, **EVERYTHING)
    expected, outcomes = ended(world, folder), []
    for one, point in at_each_point(world, folder, ask_to_end):
        record = one.records.get(number)
        outcomes.append(record.outcome)
        assert record.finished, point
        assert one.state() == (before if record.outcome == CANCELLED else expected), point
        assert one.live == (1 if record.outcome == CANCELLED else number), point
    # From one point on it is too late, for good.
    late = outcomes.index(GOOD)
    assert late > 20 and set(outcomes[:late]) == {CANCELLED} and set(outcomes[late:]) == {GOOD}


def test_cancelled_and_then_killed_anywhere(world: World, folder: Path) -> None:
    """Told to end in the middle of the watch; then killed within the undo."""
    before = world.state()
    world.begin("v2", watch=5, **EVERYTHING)
    stopped = max(at for at, name in enumerate(world.count()) if name == "sleep")
    for at in itertools.count(stopped + 1):
        one, points = copy_of(world, folder / f"at-{at}"), Points(at, before={stopped: ask_to_end})
        if not one.interrupted(points):
            assert at - stopped > 20
            return
        # The verb that was interrupted asks until it is told how the release ended.
        assert one.command("cancel", "--run=run-v2") == {"outcome": CANCELLED}, points.passed[at]
        assert one.state() == before, points.passed[at]


def test_whatever_does_not_work_once_is_undone_or_done_again(world: World, folder: Path) -> None:
    """Each call to the engine or the edge fails once: before the end of the watch, it is undone; after it, repeated."""
    before = world.state()
    number = world.begin("v2", watch=2, **EVERYTHING)
    expected, outcomes = ended(world, folder), set()
    for one, point in at_each_point(world, folder, fail):
        one.work()
        record = one.records.get(number)
        outcomes.add(record.outcome)
        assert one.state() == (before if record.outcome == FAILED else expected), point
    assert outcomes == {FAILED, GOOD}


def test_full_disk_while_the_configuration_is_placed(world: World, folder: Path) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    before = world.state()
    number = world.begin("v2", watch=2, **EVERYTHING)
    placing = world.count().index(f"os.rename .{Path(EDGE_FILE).name}.new")
    world.interrupted(Points(placing, full))
    assert world.records.get(number).outcome == FAILED
    assert world.records.get(number).reason == "[Errno 28] No space left on device"
    assert world.state() == before


def test_first_release_of_a_host(nothing: World, folder: Path) -> None:
    number = nothing.begin("v1", rules="rules of v1")
    expected = ended(nothing, folder)
    assert expected["live"] == number
    for one, point in at_each_point(nothing, folder):
        one.work()
        assert one.state() == expected, point


def test_first_release_that_fails_leaves_nothing_behind(nothing: World) -> None:
    nothing.behaves["v1"] = "exits"
    record = nothing.release("v1")
    assert record.outcome == FAILED
    assert nothing.containers == [] and nothing.records.live() is None


def test_first_release_that_fails_as_it_serves_is_better_than_nothing(nothing: World) -> None:
    nothing.broken_up.add("v1")
    assert nothing.release("v1").outcome == FAILED
    assert nothing.replicas() == ["v1 running", "v1 running"]
    nothing.broken_up.clear()
    assert nothing.release("v1").outcome == GOOD
    assert nothing.replicas() == ["v1 running", "v1 running"]


def test_rollback_killed_anywhere(world: World, folder: Path) -> None:
    assert world.release("v2", **EVERYTHING).outcome == GOOD
    world.begun("rollback", "--owner=ana", "--run=back", "--watch-seconds=2")
    expected = ended(world, folder)
    assert expected["live"] == 3 and expected["listed"] == {1: GOOD, 3: GOOD}
    assert expected["loaded"]["prometheus"] == "rules of v1"
    for one, point in at_each_point(world, folder):
        one.work()
        assert one.state() == expected, point


def test_old_release_that_was_broken_before_holds_no_undo_up(world: World) -> None:
    """Neither may what it releases to mend that be in the way of the next attempt."""
    world.behaves["v1"] = "unready"
    world.become(0, state="exited", exit_code=137)
    before = world.state()
    number = begin_bad(world, behaves="exits")
    world.work()
    assert world.records.get(number).outcome == FAILED
    assert world.state() == before


def test_replica_that_had_restarted_long_before(world: World) -> None:
    """It says nothing about a release that goes back to it, nor about one that keeps it."""
    world.become(0, restarts=3)
    before = world.state()
    number = begin_bad(world, deaf=True)
    world.work()
    assert world.records.get(number).outcome == FAILED and world.state() == before
    assert world.release("v1", watch=3, edge=" another", rules="rules of v1").outcome == GOOD


def test_old_replicas_that_do_not_get_ready_again_keep_the_new_ones_serving(world: World) -> None:
    """Going back would leave nothing that serves: the unit tries again until it can."""
    number = begin_bad(world, behaves="fails")
    world.behaves["v1"] = "unready"
    for _ in range(2):
        with pytest.raises(ReleaseError, match="is not ready after 3 s"):
            world.work()
        record = world.records.get(number)
        assert record.undoing and world.target == record.identity
    world.behaves.pop("v1")
    world.work()
    assert world.records.get(number).outcome == ROLLED_BACK
    assert world.replicas() == ["v1 running", "v1 running"]


def test_old_replica_that_somebody_removed_meanwhile_is_made_again(world: World) -> None:
    before = world.state()
    number = begin_bad(world, behaves="fails")
    # After the pause that follows the switch.
    stopped = [
        lambda: None,
        lambda: world.containers.remove(next(one for one in world.containers if world.is_api(one))),
    ]
    world.meanwhile += stopped
    world.work()
    assert world.records.get(number).outcome == ROLLED_BACK
    assert world.state() == before


def test_replica_that_somebody_removes_before_it_is_ready(world: World) -> None:
    before = world.state()
    number = begin_bad(world, behaves="unready")

    def remove() -> None:
        world.containers.pop()
        world.behaves.clear()

    world.meanwhile.append(remove)
    world.work()
    assert world.records.get(number).reason == "only 1 of 2 replicas are running after 3 s"
    assert world.state() == before
