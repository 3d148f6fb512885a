"""From an empty account to a host and back."""

from __future__ import annotations

import pytest

from tests.parts.terraform.emulator import ACCESS_KEY, SECRET_KEY
from tests.parts.terraform.full_cycle import BACKUP, BUCKET, Life


@pytest.mark.parametrize("folder", ["bootstrap", "host"])
def test_plan_is_empty_after_apply(life: Life, folder: str) -> None:
    status, output = life.plans[folder]
    assert status == 0, output
    assert "No changes." in output


def test_something_was_made(life: Life) -> None:
    made = " ".join(life.up - life.before)
    for operation in ("describe_instances", "describe_volumes", "describe_addresses", "describe_alarms"):
        assert operation in made
    for name in (BUCKET, BACKUP, "comentarios-api", "comentarios-host", "comentarios-operators"):
        assert f" {name}" in made


def test_destroy_leaves_nothing(life: Life) -> None:
    assert life.after == life.before


def test_a_second_apply_is_refused_by_the_lock(life: Life) -> None:
    status, output = life.second_apply
    assert status == 1, output
    assert "Error acquiring the state lock" in output
    assert "host/terraform.tfstate" in output


def test_the_lock_goes_with_the_apply(life: Life) -> None:
    assert not life.lock_left


def test_both_states_lie_in_the_bucket(life: Life) -> None:
    assert life.objects == {"bootstrap/terraform.tfstate", "host/terraform.tfstate"}


def test_bootstraps_state_moves_whole(life: Life) -> None:
    assert life.state_before_moving["resources"]
    for part in ("resources", "outputs"):
        assert life.state_after_moving[part] == life.state_before_moving[part]


def test_the_states_are_encrypted(life: Life) -> None:
    assert life.unencrypted == []


@pytest.mark.parametrize("secret", [ACCESS_KEY, SECRET_KEY, "PRIVATE KEY"])
def test_no_key_in_the_states_or_in_the_log(life: Life, secret: str) -> None:
    assert '"resources"' in life.states
    assert "Apply complete!" in life.log
    assert secret not in life.states
    assert secret not in life.log


def test_destroy_is_refused_while_the_data_may_not_go(life: Life) -> None:
    status, output = life.refused_destroy
    assert status == 1, output
    assert "delete_data=true" in output
    assert life.up_after_refusal == life.up


@pytest.mark.parametrize(("bucket", "days"), [(BUCKET, 90), (BACKUP, 2)])
def test_buckets_are_private(life: Life, bucket: str, days: int) -> None:
    settings = life.buckets[bucket]
    assert settings["versioning"] == "Enabled"
    assert settings["encryption"][0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert set(settings["public_access"].values()) == {True}
    assert len(settings["public_access"]) == 4
    (rule,) = (rule for rule in settings["lifecycle"] if "NoncurrentVersionExpiration" in rule)
    assert rule["Filter"]["Prefix"] == ""
    assert rule["Status"] == "Enabled"
    assert rule["NoncurrentVersionExpiration"]["NoncurrentDays"] == days


def test_backups_expire_and_states_do_not(life: Life) -> None:
    def days(name: str) -> dict[str, int]:
        rules = life.buckets[name]["lifecycle"]
        return {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in rules if "Expiration" in rule}

    assert days(BACKUP) == {"database/2": 2, "database/daily-": 30, "logs/": 14}
    assert days(BUCKET) == {}


def test_backups_of_parked_hosts_do_not_expire(life: Life) -> None:
    assert [rule["id"] for rule in life.parked_rules] == ["superseded"]
    assert life.parked_rules[0]["expiration"] == []
