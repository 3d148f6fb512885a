"""Environments side by side in one account: they share nothing, and one can be removed alone."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from cli import host, settings
from cli.targets import target
from common.config import Config
from sandbox import hosts
from tests.parts.terraform.emulator import Emulator
from tests.proofs import environments
from tests.proofs.environments import ENVIRONMENTS, GONE, SideBySide
from tests.support import replies
from tests.support.site import Site

# Nobody else's, where a site is kept for the next run.
THREAD = f"environments-{secrets.token_hex(4)}"
# Beside the unnamed environment of the project that has no other name, and in another region than it.
STAGING: dict[str, Any] = {"ENV": "staging", "PROJECT": "blog"}
SETTINGS = settings.FOLDER / "sandbox-staging.blog.yml"
REGION = "aws: {region: eu-west-1}\n"
# As a program on an EC2 instance asks for it.
METADATA = "curl --silent http://169.254.169.254/latest"
OWN_REGION = (
    f"token=$({METADATA}/api/token --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60') && "
    f'{METADATA}/meta-data/placement/region --header "X-aws-ec2-metadata-token: $token"'
)


@pytest.fixture(scope="module")
def side_by_side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SideBySide]:
    folder = tmp_path_factory.mktemp(THREAD)
    emulator = Emulator(folder)
    try:
        yield environments.live(folder, emulator)
    finally:
        emulator.stop()


class TestTerraform:
    """In one account of AWS's APIs, in two regions."""

    def test_each_has_its_own(self, side_by_side: SideBySide) -> None:
        for called, region in ENVIRONMENTS.values():
            for name in (f"{called.iam(region)}-host", f"{called.iam(region)}-operators"):
                assert any(line.endswith(f" {name}") for line in side_by_side.up), name
            assert f"s3 list_buckets {called.state_bucket('123456789012', region)}" in side_by_side.up

    def test_one_goes_and_the_others_have_no_changes(self, side_by_side: SideBySide) -> None:
        assert set(side_by_side.plans) == set(ENVIRONMENTS) - {GONE}
        for plans in side_by_side.plans.values():
            for status, output in plans.values():
                assert status == 0 and "No changes." in output, output

    def test_only_what_was_the_ones_goes(self, side_by_side: SideBySide) -> None:
        called, region = ENVIRONMENTS[GONE]
        named = {line for line in side_by_side.up - side_by_side.after if "comentarios" in line}
        assert named and not side_by_side.after - side_by_side.up
        buckets = tuple(f" {called.name}-123456789012-{region}-{which}" for which in ("state", "backup"))
        ours = (f" {called.iam(region)}-", *buckets, f" {called.repository}", f" {called.name}-1-")
        key = f"ec2 describe_key_pairs {called.name}"
        assert [line for line in named if line != key and not any(one in line for one in ours)] == []
        assert not [line for line in side_by_side.after if line == key or any(one in line for one in ours)]


@pytest.fixture(scope="module")
def staging(up: Site) -> Iterator[Site]:
    assert not SETTINGS.exists() or SETTINGS.read_text() == REGION, f"{SETTINGS} is somebody's: move it away"
    SETTINGS.write_text(REGION)
    made = up.make("up", **STAGING, WATCH="0", timeout=1500)
    try:
        assert made.returncode == 0, made.stdout[-6000:]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in STAGING.items():
                patch.setenv(name, value)
            there = target()
        first = host.chosen(there)
        yield Site(host.edge(there, first), there, first)
    finally:
        gone = up.make("down", **STAGING)
        SETTINGS.unlink()
        assert gone.returncode == 0, gone.stdout


class TestSites:
    """Whole sites in two regions of one sandbox: what is done to one, the other does not notice."""

    def test_each_sees_its_own_host(self, up: Site, staging: Site) -> None:
        assert [one.name for one in host.hosts(up.target)] == ["comentarios-1"]
        assert [one.name for one in host.hosts(staging.target)] == ["staging-blog-1"]
        for environment, name in (({"ENV": ""}, "comentarios-1"), (STAGING, "staging-blog-1")):
            done = up.make("status", **environment)
            assert done.returncode == 0 and f"{name} api" in done.stdout, done.stdout

    def test_each_is_in_its_own_region(self, up: Site, staging: Site) -> None:
        for site, region in ((up, "us-east-1"), (staging, "eu-west-1")):
            assert f".ecr.{region}.amazonaws.com/" in site.ssh("sudo docker ps --format '{{.Image}}'").stdout
            assert site.ssh(f"sudo sh -c {shlex.quote(OWN_REGION)}").stdout == region

    def test_comments_and_backups_are_apart(self, up: Site, staging: Site) -> None:
        replies.post(up.edge, THREAD, "of the unnamed one")
        replies.post(staging.edge, THREAD, "of staging")
        made = up.make("backup", **STAGING)
        assert made.returncode == 0, made.stdout
        (name,) = re.findall(r"^  (\S+): 1 comments", made.stdout, re.MULTILINE)
        # The other host makes its own meanwhile.
        assert name in up.make("backups", **STAGING).stdout and name not in up.make("backups").stdout
        replies.post(staging.edge, THREAD, "after the backup")
        assert up.make("restore", **STAGING).returncode == 0
        assert replies.comments(staging.edge, THREAD) == ["of staging"]
        assert replies.comments(up.edge, THREAD) == ["of the unnamed one"]

    def test_release_and_rollback(self, up: Site, staging: Site) -> None:
        before = up.make("releases").stdout
        done = up.make("release", **STAGING, WATCH="0", REBUILD="yes")
        assert done.returncode == 0, done.stdout[-4000:]
        assert up.make("rollback", **STAGING, WATCH="0").returncode == 0
        assert up.make("releases").stdout == before

    def test_drill_loses_one_host(self, up: Site, staging: Site) -> None:
        lost, stays = host.chosen(staging.target).instance_id, host.chosen(up.target).instance_id
        done = up.make("drill", **STAGING, timeout=1500)
        # Its bound of time is another proof's (test_lost_host).
        assert "| 0 of 20 |" in done.stdout, done.stdout[-4000:]
        assert host.chosen(staging.target).instance_id != lost
        assert host.chosen(up.target).instance_id == stays
        assert replies.comments(up.edge, THREAD) == ["of the unnamed one"]

    def test_down_of_the_sandbox_is_refused(self, up: Site, staging: Site) -> None:
        done = up.make("down")
        assert done.returncode != 0 and "also has staging-blog in eu-west-1:" in done.stdout

    def test_down_of_one(self, up: Site, staging: Site) -> None:
        gone = host.chosen(staging.target).instance_id
        done = up.make("down", **STAGING)
        assert done.returncode == 0, done.stdout
        assert gone not in hosts.names(Config()) and not staging.target.state.exists()
        assert replies.comments(up.edge, THREAD) == ["of the unnamed one"]
        again = up.make("up", WATCH="0")
        assert again.returncode == 0 and "no changes; terraform: no changes" in again.stdout, again.stdout[-4000:]
        assert "changed=0" in again.stdout
