"""Whole releases and rollbacks with a stack in memory: the steps, their order, and the result."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from comentarios_release.records import GOOD, ROLLED_BACK
from comentarios_release.settings import ReleaseError
from comentarios_release.watch import Baseline

from tests.support.world import SETTINGS, Points, World, receiver

RELEASE = [
    "create a replica",
    "create a replica",
    "switch",
    "stop api",
    "stop api",
    "remove a container",
    "remove a container",
]


def roll_back(world: World, to: str = "", watch: int = 0) -> int:
    given = ("--owner=ana", "--run=back", f"--to={to}", f"--watch-seconds={watch}", "--ready-seconds=3")
    begun = world.begun("rollback", *given)
    number: int = begun["number"]
    assert begun == {"changed": True, "number": number, "kind": "rollback", "tag": begun["tag"], "watch_seconds": watch}
    world.work()
    return number


def outcomes(world: World) -> dict[int, str]:
    return {record.number: record.outcome for record in world.records.all()}


def test_release(world: World) -> None:
    number = world.begin("v2", watch=3, edge=" of v2")
    world.done.clear()
    world.work()
    assert world.done == RELEASE
    record = world.records.get(number)
    assert record.outcome == GOOD and record.reason == "" and record.finished and record.previous == 1
    assert record.commit == "commit of v2"
    assert sorted(record.times, key=lambda phase: record.times[phase]) == [
        "started",
        "ready",
        "placed",
        "switched",
        "stopped",
        "watched",
    ]
    assert world.replicas() == ["v2 running", "v2 running"]
    assert world.target == record.identity and world.live == number
    assert world.loaded["edge"] == "configuration of the edge of v2"
    metrics = world.settings.textfile.read_text()
    assert 'comentarios_release_info{version="v2"} 1.000' in metrics and "last_success 1.000" in metrics


def test_nothing_reaches_the_new_replicas_before_all_are_ready(world: World) -> None:
    world.begin("v2")
    world.behaves["v2"] = "unready"
    seen = []
    for _ in range(3):
        world.meanwhile.append(lambda: seen.append((world.target, world.replicas())))
    world.meanwhile.append(lambda: world.behaves.pop("v2"))
    before = world.target
    world.work()
    assert seen == [(before, ["v1 running", "v1 running", "v2 running", "v2 running"])] * 3
    assert world.replicas() == ["v2 running", "v2 running"]


def test_old_replicas_are_kept_while_the_new_ones_are_watched(world: World) -> None:
    world.begin("v2", watch=3)
    seen = []
    for _ in range(4):
        world.meanwhile.append(lambda: seen.append(world.replicas()))
    world.work()
    stopped = ["v1 exited", "v1 exited", "v2 running", "v2 running"]
    assert seen[1:] == [stopped] * 3


def test_lock_is_held_while_it_works(world: World) -> None:
    world.begin("v2", watch=3)
    refused = []

    def look() -> None:
        with pytest.raises(ReleaseError, match="ana@laptop has been working on this host since"), world.held("rui"):
            raise AssertionError("two hold it")
        refused.append(True)

    world.meanwhile += [look] * 4
    world.work()
    assert len(refused) == 4
    with world.held("rui"):
        pass


def test_only_the_number_of_replicas_differs(world: World) -> None:
    assert world.release("v1", replicas=3, rules="rules of v1").outcome == GOOD
    assert world.replicas() == ["v1 running"] * 3


def test_replica_that_is_gone_or_down_is_replaced(world: World) -> None:
    world.become(0, state="exited")
    world.containers = [one for one in world.containers if one.name != "comentarios-api-2"]
    assert world.release("v1", rules="rules of v1").outcome == GOOD
    assert world.replicas() == ["v1 running"] * 2
    assert world.done.count("switch") == 1


def test_edge_that_answers_a_little_later(world: World) -> None:
    number = world.begin("v2")
    world.deaf.add(world.records.get(number).identity)
    for _ in range(3):
        world.meanwhile.append(lambda: None)
    world.meanwhile.append(world.deaf.clear)
    world.work()
    assert world.records.get(number).outcome == GOOD


def test_edge_that_counts_nothing_yet_is_no_reason(world: World) -> None:
    world.counts = False
    record = world.release("v2", watch=3)
    assert record.outcome == GOOD and record.baseline == asdict(Baseline(error_ratio=0.0, slow=0.25))


def test_watch_compares_with_what_was_before(world: World) -> None:
    """Both fail a quarter of the requests."""
    world.behaves["v1"] = world.behaves["v2"] = "fails"
    record = world.release("v2", watch=10)
    assert record.baseline and record.baseline["error_ratio"] > 0.2
    assert record.outcome == GOOD


def test_replica_that_is_unready_for_a_moment_is_no_reason(world: World) -> None:
    number = world.begin("v2", watch=6)

    def stall() -> None:
        world.behaves["v2"] = "stalls"

    # The first is the pause before the old ones are stopped; two probes in a row fail, twice.
    world.meanwhile += [stall, lambda: None, world.behaves.clear, stall, lambda: None, world.behaves.clear]
    world.work()
    assert world.records.get(number).outcome == GOOD


def test_release_that_is_undone_does_not_count_as_a_bad_one_when_somebody_cancelled_it(world: World) -> None:
    number = world.begin("v2", watch=10)
    world.interrupted(Points(20))
    assert world.command("cancel", "--run=run-v2") == {"outcome": "cancelled"}
    assert world.records.get(number).reason == "it was cancelled"
    assert "last_success 1.000" in world.settings.textfile.read_text()


# --- rollback


def test_rollback_to_the_one_before(world: World) -> None:
    world.release("v2", edge=" of v2", rules="rules of v2")
    world.done.clear()
    number = roll_back(world, watch=2)
    record = world.records.get(number)
    assert (record.outcome, record.origin, record.previous, record.tag) == (GOOD, 1, 2, "v1")
    assert world.replicas() == ["v1 running", "v1 running"] and world.live == number
    assert world.loaded == {"edge": "configuration of the edge", "prometheus": "rules of v1"}
    assert (world.settings.stack_dir / ".env").read_text().startswith("# made by Ansible\nEDGE_IMAGE=edge:1\nAPI_IM")
    assert outcomes(world) == {1: GOOD, 2: ROLLED_BACK, 3: GOOD}
    assert world.records.get(2).reason == "release 3 went back to 1"
    assert 'release_timestamp_seconds{kind="rollback",version="v1"} ' in world.settings.textfile.read_text()


def test_rollback_to_a_given_one_retires_all_since(world: World) -> None:
    for tag in ("v2", "v3", "v4"):
        world.release(tag)
    number = roll_back(world, to="v2")
    assert world.replicas() == ["v2 running", "v2 running"]
    assert outcomes(world) == {1: GOOD, 2: GOOD, 3: ROLLED_BACK, 4: ROLLED_BACK, number: GOOD}
    # A retired release cannot be rolled back to.
    assert world.records.get(roll_back(world, to="1")).origin == 1
    with pytest.raises(ReleaseError, match="release 4 rolled back: go back to a good one"):
        roll_back(world, to="4")


@pytest.mark.parametrize("to", ["", "2", "v2", "4"])
def test_rollback_again_changes_nothing(world: World, to: str) -> None:
    """Rerun after its connection broke, or after another host failed, it must not go one release further back."""
    for tag in ("v2", "v3"):
        world.release(tag)
    assert roll_back(world) == 4
    before = world.state()
    assert world.command("rollback", "--owner=ana", "--run=again", f"--to={to}") == {"changed": False, "number": 4}
    assert world.state() == before


def test_rollback_that_is_only_checked(world: World) -> None:
    world.release("v2")
    before = world.state()
    check = ("rollback", "--owner=ana", "--run=back", "--check")
    assert world.command(*check) == {"changed": True} and world.state() == before
    roll_back(world)
    assert world.command(*check) == {"changed": False, "number": 3}


def test_release_after_a_rollback_and_back_again(world: World) -> None:
    world.release("v2")
    roll_back(world)
    assert world.release("v3").outcome == GOOD
    assert world.records.get(roll_back(world)).tag == "v1"
    assert world.replicas() == ["v1 running", "v1 running"]


def secrets(world: World) -> dict[str, str]:
    found = (world.settings.stack_dir).glob("*/secrets/*")
    return {path.name: path.read_text() for path in found}


def test_secret_that_its_configuration_names_no_more_goes(world: World) -> None:
    assert secrets(world) == {"url-one": "https://one.example.com"}
    world.release("v2", others=receiver("two"))
    assert secrets(world) == {"url-two": "https://two.example.com"}
    # Of parts that are not staged nothing goes; and no release keeps one.
    world.release("v3")
    assert secrets(world) == {"url-two": "https://two.example.com"}
    assert not list(world.settings.releases.rglob("secrets"))


def test_replicas_find_their_secret_as_they_start(world: World) -> None:
    """A bind mount whose source is missing is refused by the engine, as the one of tests/support/world.py does."""
    url = database("database_url-1")
    assert world.release("v2", others=url).outcome == GOOD
    assert (world.settings.stack_dir / "secrets/database_url-1").read_text() == url["secrets/database_url-1"]


def test_rollback_brings_no_secret_back(world: World) -> None:
    password = "grafana/secrets/admin_password"
    settings = {"grafana/grafana.ini": "$__file{/etc/grafana/secrets/admin_password}"}
    world.release("v2", others=receiver("two") | settings | {password: "old"})
    world.release("v3", others=receiver("three") | settings | {password: "rotated"})
    roll_back(world)
    # Neither the revoked one, nor the one that the configuration does not name.
    assert secrets(world) == {"admin_password": "rotated"}


def database(name: str) -> dict[str, str]:
    """What role stack stages for a database. The same one each time: another one would be a move."""
    return {f"secrets/{name}": "postgresql://db.example.com/comentarios", SETTINGS[1]: f"# {name}"}


def test_database_url_of_an_earlier_release_stays(world: World) -> None:
    """As long as that release is listed."""
    world.release("v2", others=database("database_url-1"))
    world.release("v3", others=database("database_url-2"))
    kept = sorted(path.name for path in (world.settings.stack_dir / "secrets").iterdir())
    assert kept == ["database_url-1", "database_url-2"]
    for number in range(4, 23):
        world.release(f"v{number}", others=database("database_url-2"))
    assert min(outcomes(world)) == 3
    assert [path.name for path in (world.settings.stack_dir / "secrets").iterdir()] == ["database_url-2"]


def test_grafana_is_restarted_unless_only_dashboards_differ(world: World) -> None:
    dashboard, settings = "grafana/dashboards/api.json", "grafana/grafana.ini"
    world.add("grafana")
    world.release("v2", others={dashboard: "2"})
    assert "restart" not in world.done
    world.release("v3", others={dashboard: "2", settings: "3"})
    assert world.done.count("restart") == 1
    for to, restarts, there in (("2", 1, True), ("1", 0, False)):
        world.done.clear()
        roll_back(world, to=to)
        assert world.done.count("restart") == restarts
        assert not (world.settings.stack_dir / settings).exists()
        assert (world.settings.stack_dir / dashboard).exists() == there


def test_service_that_is_down_is_not_told(world: World) -> None:
    world.release("v2", rules="rules of v2")
    world.down("prometheus")
    world.done.clear()
    assert world.records.get(roll_back(world)).outcome == GOOD
    assert "hang up" not in world.done


@pytest.mark.parametrize(
    ("to", "refusal"),
    [
        ("9", "there is no release 9 on this host: `make releases` lists them"),
        ("v9", "there is no release v9 on this host"),
    ],
)
def test_rollback_that_is_refused(world: World, to: str, refusal: str) -> None:
    world.release("v2")
    before = world.state()
    with pytest.raises(ReleaseError, match=refusal):
        roll_back(world, to=to)
    assert world.state() == before


def test_rollback_with_nothing_to_go_back_to(nothing: World) -> None:
    with pytest.raises(ReleaseError, match="no release is live on this host yet: run `make up`"):
        roll_back(nothing)
    nothing.release("v1")
    with pytest.raises(ReleaseError, match="there is no good release before the live one"):
        roll_back(nothing)


def test_rollback_to_an_image_that_is_gone_changes_nothing(world: World) -> None:
    world.release("v2")
    image = "registry/comentarios-api:v1"
    world.images.discard(image)
    world.registry.discard(image)
    with pytest.raises(ReleaseError, match=f"{image} is neither on this host nor can it be pulled"):
        roll_back(world)
    assert world.replicas() == ["v2 running", "v2 running"] and len(outcomes(world)) == 2


def test_rollback_that_fails_is_undone(world: World) -> None:
    world.release("v2", rules="rules of v2")
    before = world.state()
    world.behaves["v1"] = "exits"
    number = roll_back(world)
    assert outcomes(world) == {1: GOOD, 2: GOOD, number: "failed"}
    assert world.state() == before


# --- what stays


def test_five_images_and_the_configured_number_of_records_stay(world: World) -> None:
    for number in range(2, 30):
        assert world.release(f"v{number}").outcome == GOOD
    assert world.images == {f"registry/comentarios-api:v{number}" for number in range(25, 30)}
    assert list(outcomes(world)) == list(range(10, 30))


def test_image_of_a_failed_release_goes_and_the_live_one_stays(world: World) -> None:
    world.behaves["v2"] = "exits"
    for _ in range(6):
        assert world.release("v2").outcome == "failed"
    assert world.images == {"registry/comentarios-api:v1"}


def test_images_of_other_services_go_with_the_last_record_that_has_them(world: World) -> None:
    world.images |= {"edge:1", "edge:2"}
    world.release("v2", edge_image="edge:2")
    for number in range(3, 21):
        world.release(f"v{number}", edge_image="edge:2")
    assert {"edge:1", "edge:2"} <= world.images
    world.release("v21", edge_image="edge:2")
    assert "edge:1" not in world.images and "edge:2" in world.images
