"""Reboots of the host, and of the machine, which ends the APIs' process: everything is back afterwards."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
from collections.abc import Callable

import requests

from cli import host
from common.config import Config
from tests.support.site import Site


def post(site: Site) -> str:
    """Posts a comment; the thread that has it alone."""
    thread = f"reboot-{secrets.token_hex(4)}"
    body = {"email": "reboot@example.com", "comment": "here", "content_id": thread}
    requests.post(f"{site.edge}/api/comment/new", json=body, timeout=30).raise_for_status()
    return thread


def kill_apis() -> None:
    """Ends the APIs' process as a power cut does."""
    os.kill(int((Config().state / "server.pid").read_text()), signal.SIGKILL)


def stop_containers() -> None:
    """Ends every container of the sandbox, without a chance to tidy up, and keeps it down."""
    listed = ["docker", "ps", "--quiet", "--filter", f"label={Config().label}"]
    found = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split()
    subprocess.run(["docker", "kill", *found], check=True, capture_output=True)


def listed(site: Site, thread: str) -> list[str]:
    comments = requests.get(f"{site.edge}/api/comment/list/{thread}", timeout=30).json()
    return [one["comment"] for one in comments]


def carries_on(site: Site, thread: str) -> None:
    """`make up` finds nothing to change, by Terraform or on the host, which is the same one with its comments."""
    done = site.make("up")
    assert done.returncode == 0, done.stdout[-6000:]
    planned = re.findall(r"^✓ terraform: plan: (.+) \(\S+ s\)$", done.stdout, re.MULTILINE)
    assert planned == ["terraform/bootstrap: no changes; terraform: no changes"]
    assert re.search(r"changed=0 .*failed=0", done.stdout), done.stdout[-6000:]
    # One line a step; the logs have the rest.
    assert len(done.stdout.splitlines()) <= 25, done.stdout
    assert [one.instance_id for one in host.hosts(site.target)] == [site.host.instance_id]
    assert listed(site, thread) == ["here"]
    status = site.make("status")
    assert status.returncode == 0, status.stdout


def test_host_reboots(up: Site, eventually: Callable[..., object]) -> None:
    """It starts by itself, its release is live, the firewall is there, and it can still pull from ECR."""
    thread, boot = post(up), "cut -d' ' -f22 /proc/1/stat"
    booted = up.ssh(boot).stdout
    up.ssh("sudo systemctl reboot")
    eventually(lambda: up.ssh(boot, timeout=15).stdout not in {"", booted}, 120)
    assert eventually(lambda: listed(up, thread), 120) == ["here"]
    assert "policy drop" in up.ssh("sudo nft list table inet comentarios").stdout
    pulled = up.ssh("sudo docker pull $(grep ^API_IMAGE= /opt/comentarios/.env | cut -d= -f2)", timeout=120)
    assert pulled.returncode == 0, pulled.stderr


def test_machine_reboots(up: Site) -> None:
    """The APIs' process ends first: `make status` says so, and that the host serves. Then the containers end, too."""
    thread = post(up)
    kill_apis()
    status = up.make("status")
    assert status.returncode != 0
    assert "AWS APIs" in status.stdout and "the process does not run; no data is lost" in status.stdout
    assert f"healthy    edge  {up.edge} serves" in status.stdout
    assert "none is running" not in status.stdout
    stop_containers()
    carries_on(up, thread)
