"""`make up` with real parts: the challenge's commands through the edge, and what outlives the host."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
import requests


@pytest.fixture
def thread() -> int:
    """The number of a thread that nobody has written to."""
    return time.time_ns()


def test_challenge_commands(up, thread):
    """The three commands as the challenge writes them, with curl."""
    comment = {"email": "alice@example.com", "comment": "first post!", "content_id": thread}
    post = ["-X", "POST", "-H", "Content-Type: application/json", "-d", json.dumps(comment)]
    assert _curl(f"{up.edge}/api/comment/new", *post) == (
        200,
        {"status": "SUCCESS", "message": f"comment created and associated with content_id {thread}"},
    )
    first = {"email": "alice@example.com", "comment": "first post!"}
    assert _curl(f"{up.edge}/api/comment/list/{thread}") == (200, [first])
    assert _curl(f"{up.edge}/api/comment/list/{thread + 1}") == (
        404,
        {"status": "NOT-FOUND", "message": f"content_id {thread + 1} not found"},
    )
    _post(up, str(thread), "me too")
    second = {"email": "bob@example.com", "comment": "me too"}
    assert _curl(f"{up.edge}/api/comment/list/{thread}") == (200, [first, second])


def test_every_replica_lists_the_same(up, thread):
    """Twenty requests reach both replicas; the original's two workers disagreed."""
    _post(up, thread, "for all")
    answers = [requests.get(f"{up.edge}/api/comment/list/{thread}", timeout=10).json() for _ in range(20)]
    assert answers == [[{"email": "bob@example.com", "comment": "for all"}]] * 20


def test_metrics_stay_inside(up):
    """The edge does not pass on the API's metrics; what else stays inside is in test_firewall.py."""
    assert requests.get(f"{up.edge}/metrics", timeout=10).status_code == 404


def test_ssh_and_status(up):
    """`make ssh CMD=…` answers from the host; `make status` finds everything healthy."""
    listed = up.make("ssh", CMD="docker compose ls")
    assert listed.returncode == 0
    assert "comentarios" in listed.stdout
    status = up.make("status")
    assert status.returncode == 0, status.stdout
    assert "UNHEALTHY" not in status.stdout


def test_host_has_its_instance_types_size(up):
    """The host's containers count under the memory of a t3.small, so that what fits is tried."""
    limit = subprocess.run(
        [
            "docker",
            "inspect",
            "--format",
            "{{.HostConfig.Memory}}",
            f"{os.environ['SANDBOX_NAME']}-{up.host.instance_id}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(limit.stdout) == 2**31


def test_comments_are_on_the_data_volume(up):
    """The database's directory is a file system of its own, on the EBS volume that outlives the instance."""
    found = up.ssh("findmnt --noheadings --output SOURCE,FSTYPE --target /var/lib/comentarios").stdout.split()
    assert found[0].startswith("/dev/loop") and found[1] == "ext4"
    assert up.ssh("sudo ls /var/lib/comentarios/comentarios.db").returncode == 0


def test_pulls_need_no_stored_token(up):
    """The helper alone, which asks ECR with the instance's role."""
    assert list(json.loads(up.ssh("sudo cat /root/.docker/config.json").stdout)) == ["credHelpers"]


def test_plan_shows_what_would_change(up):
    """A variable of Terraform's and a file that somebody changed by hand: both are shown, and neither is touched."""
    rules = "/opt/comentarios/prometheus/rules/host.yml"
    up.ssh(f"echo '# by hand' | sudo tee --append {rules}")
    try:
        plan = up.make("plan", TF_VAR_backup_retention_days="31")
        assert plan.returncode == 0, plan.stdout[-4000:]
        assert "0 to add, 1 to change, 0 to destroy" in plan.stdout
        assert "-# by hand" in plan.stdout
        assert up.ssh(f"tail --lines 1 {rules}").stdout == "# by hand\n"
    finally:
        up.ssh(f"sudo sed --in-place '$d' {rules}")


def test_comments_survive_the_containers(up, thread, eventually):
    """The API's containers are made anew: every comment is there again."""
    _post(up, thread, "before")
    done = up.ssh("cd /opt/comentarios && sudo docker compose up -d --force-recreate api", timeout=120)
    assert done.returncode == 0, done.stderr
    assert eventually(lambda: _listed(up, thread)) == ["before"]


def test_image_that_ecr_does_not_have(up):
    """One clear line before Terraform is run, a non-zero exit, and the live release goes on."""
    done = up.make("up", TAG="never-pushed")
    assert done.returncode != 0
    assert "ECR has no image comentarios-api:never-pushed" in done.stdout and "terraform" not in done.stdout
    assert requests.get(f"{up.edge}/readyz", timeout=10).status_code == 200


def _post(up, thread: int | str, comment: str) -> None:
    body = {"email": "bob@example.com", "comment": comment, "content_id": thread}
    reply = requests.post(f"{up.edge}/api/comment/new", json=body, timeout=10)
    assert reply.json()["status"] == "SUCCESS", reply.text


def _listed(up, thread: int) -> list[str]:
    response = requests.get(f"{up.edge}/api/comment/list/{thread}", timeout=5)
    return [one["comment"] for one in response.json()] if response.status_code == 200 else []


def _curl(*arguments: str) -> tuple[int, object]:
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    body, _, code = done.stdout.rpartition("\n")
    return int(code), json.loads(body)
