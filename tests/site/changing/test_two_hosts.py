"""Two hosts with one PostgreSQL: both have all comments, one works without the other, releases go host by host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network
from types import SimpleNamespace

import pytest
import requests
from postgres import Postgres

from cli import host, terraform
from tests.support import reach, replies
from tests.support.releases import Releases, lossless

# The site has two hosts and another database afterwards.
pytestmark = pytest.mark.reshapes_site

PARAMETER = "/comentarios/database_url"
DATABASE = {"TF_VAR_database_url_parameter": PARAMETER}


@pytest.fixture(scope="module")
def postgres(up) -> Iterator[Postgres]:
    """A server at the sandbox's gateway, where RDS would be in the VPC."""
    network = IPv4Network(os.environ["SANDBOX_SUBNET"])
    server = Postgres.create(IPv4Interface(f"{network[1]}/{network.prefixlen}"))
    yield server
    server.remove()


@pytest.fixture(scope="module")
def two(up, releases, postgres) -> SimpleNamespace:
    """`first` and `second`: the hosts' releases, edges and shells."""
    terraform.client(up.target, "ssm").put_parameter(
        Name=PARAMETER, Type="SecureString", Value=postgres.network_url, Overwrite=True
    )
    replies.post(releases.edge, "moved", "before the move")
    for verb, variables in (("move-database", {"TO": PARAMETER}), ("up", {"TF_VAR_instance_count": "2"})):
        done = up.make(verb, timeout=1500, WATCH="0", **DATABASE, **variables)
        assert done.returncode == 0, done.stdout[-6000:]
    found = host.hosts(up.target)
    assert [one.name for one in found] == ["comentarios-1", "comentarios-2"]
    first, second = (Releases(up.on(one)) for one in found)
    return SimpleNamespace(first=first, second=second)


def test_comments_of_before_the_move_are_there(two):
    for one in (two.first, two.second):
        assert replies.comments(one.edge, "moved") == ["before the move"]


def test_what_one_takes_the_other_lists(two):
    replies.post(two.first.edge, "shared", "by the first")
    assert replies.comments(two.second.edge, "shared") == ["by the first"]


def test_operators_act_on_both(up, two):
    """Through either host: PostgreSQL is one."""
    body = {"email": "mallory@example.com", "comment": "spam", "content_id": "moderated"}
    assert requests.post(f"{two.first.edge}/api/comment/new", json=body, timeout=10).json()["status"] == "SUCCESS"
    found = up.make("-s", "comments", THREAD="moderated", HOST="comentarios-2").stdout.splitlines()
    number = found[-1].split()[0]
    hidden = up.make("-s", "hide", ID=number, WHY="spam", HOST="comentarios-2")
    assert hidden.stdout == f"comment {number} is hidden\n"
    said = requests.get(f"{two.first.edge}/api/comment/list/moderated", timeout=10).json()
    assert said == {"status": "NOT-FOUND", "message": "content_id moderated not found"}
    erased = up.make("erase", "EMAIL=mallory@example.com", WHY="asked")
    assert erased.returncode == 0 and "erased: 1 comments of the address" in erased.stdout, erased.stdout
    log = up.make("-s", "audit", HOST="comentarios-2").stdout.splitlines()[1:3]
    assert [line.split()[1] for line in log] == ["erase", "hide"]


def test_password_is_in_a_file_of_the_api_alone(two, postgres):
    for one in (two.first, two.second):
        described = one.run("docker inspect $(docker ps --quiet); sudo sh -c 'cat /proc/[0-9]*/environ'").stdout
        assert "DATABASE_URL_FILE" in described
        assert postgres.password not in described
        kept = one.run(f"sudo grep --recursive --files-with-matches {postgres.password} /opt/comentarios /etc").stdout
        modes = one.run(f"sudo stat --format '%a %u' {' '.join(kept.split())}").stdout.splitlines()
        assert sorted(modes) == ["400 10001", "600 0"], kept


def test_replicas_have_a_way_out_and_no_more(two):
    """To PostgreSQL, which is outside; not to the metadata or to what watches them."""
    site = two.first.site
    found = reach.containers(site)
    to = reach.targets(site, found)
    for one in found:
        if one.service == "api":
            assert reach.reached(site, one, to) == {"API", "edge", "edge's metrics", "outside", "outside's names"}


def test_one_makes_the_backups(up, two):
    made = up.make("backup")
    assert made.returncode == 0 and ".pgdump.gz" in made.stdout, made.stdout
    timers = [one.run("systemctl is-active comentarios-backup.timer").stdout.strip() for one in (two.first, two.second)]
    assert timers == ["active", "inactive"]
    # The other one has no backups to be warned about.
    rules = [
        one.run("ls /opt/comentarios/prometheus/rules/backup.yml").returncode == 0 for one in (two.first, two.second)
    ]
    assert rules == [True, False]


def test_logs_of_both_are_shown_with_their_names(up, two):
    for one in (two.first, two.second):
        replies.post(one.edge, "logged", "a line each")
    done = up.make("logs", FOLLOW="no", SINCE="5m", SERVICE="api", GREP="/api/comment/new")
    assert done.returncode == 0, done.stdout
    assert {line.split()[0] for line in done.stdout.splitlines() if " | {" in line} == {
        "comentarios-1",
        "comentarios-2",
    }


def test_a_host_that_goes_costs_the_other_nothing(two, eventually):
    name = f"{os.environ['SANDBOX_NAME']}-{two.first.site.host.instance_id}"
    with two.second.load() as report:
        subprocess.run(["docker", "kill", "--signal", "KILL", name], check=True, capture_output=True)
        try:
            replies.post(two.second.edge, "alone", "by the second")
        finally:
            subprocess.run(["docker", "start", name], check=True, capture_output=True)
    lossless(report)
    eventually(lambda: replies.comments(two.first.edge, "alone", timeout=5) == ["by the second"], 120)


def test_a_release_goes_host_by_host(up, two, pushed):
    tag = pushed("good")
    done = up.make("release", TAG=tag, WATCH="2")
    assert done.returncode == 0, done.stdout[-3000:]
    last = [one.last() for one in (two.first, two.second)]
    assert [one["tag"] for one in last] == [tag, tag]
    assert last[0]["finished"] <= last[1]["started"]


def test_a_release_stops_at_the_first_host_that_fails(up, two, pushed):
    before = [one.version() for one in (two.first, two.second)]
    numbers = two.second.last()["number"]
    failed = up.make("release", TAG=pushed("exits"), READY="10")
    assert failed.returncode != 0
    assert "comentarios-1" in failed.stdout
    assert two.first.last()["outcome"] != "good"
    assert two.second.last()["number"] == numbers
    assert [one.version() for one in (two.first, two.second)] == before


def test_parameter_that_nobody_put_there(up, two):
    """One line that says what to do, before anything changes."""
    refused = up.play(book="playbooks/release.yml", parameters_required=["/comentarios/absent"])
    assert refused.returncode != 0
    assert "SSM Parameter Store has no /comentarios/absent: aws ssm put-parameter" in refused.stdout
