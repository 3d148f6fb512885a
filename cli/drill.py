"""``make drill``: destroys the host and its data volume, rebuilds both and restores the comments."""

import secrets
import time

import requests

from cli import backup, host, release, up
from cli.targets import Target
from cli.terraform import client
from common.errors import CommandError
from common.progress import say, step

RECOVERY_SECONDS = 300
POSTED, POSTED_LATER = 20, 5


def drill(target: Target, host_: str = "") -> int:
    """Destroys the host and its data volume, and measures the time until its comments and its release are live again.

    Returns:
        1 when it took longer than RECOVERY_SECONDS, or a comment of the newest backup is lost.

    Raises:
        CommandError: a step failed, or on AWS the environment's name was not typed.
    """
    if not target.is_sandbox:
        up.confirm(target, "This terminates the host and deletes its data volume.")
    lost_host, thread = host.chosen(target, host_), f"drill-{secrets.token_hex(4)}"
    tag = release.live(target)[lost_host.name]
    if not tag:
        raise CommandError(f"no release is live on {lost_host.name}, so nothing was removed: run `make up`")
    _post(host.edge(target, lost_host), thread, 0, POSTED)
    backup.backup(target, host_)
    _post(host.edge(target, lost_host), thread, POSTED, POSTED_LATER)
    with step(f"drill: terminating {lost_host.name} and deleting its data volume"):
        _lose(target, lost_host)
    begin = time.monotonic()
    up.up(target, tag)
    backup.restore(target, host_=host_)
    seconds = time.monotonic() - begin
    reply = requests.get(f"{host.edge(target, host.chosen(target, host_))}/api/comment/list/{thread}", timeout=30)
    found = [one["comment"] for one in reply.json()] if reply.status_code == 200 else []
    missing = len({str(number) for number in range(POSTED)} - set(found))
    say("| recovery | bound | comments of the newest backup lost | comments after it lost | release live |")
    say("|---|---|---|---|---|")
    late = POSTED + POSTED_LATER - missing - len(found)
    say(f"| {seconds:.0f} s | {RECOVERY_SECONDS} s | {missing} of {POSTED} | {late} of {POSTED_LATER} | {tag} |")
    return int(seconds > RECOVERY_SECONDS or missing > 0)


def _lose(target: Target, lost: host.Host) -> None:
    ec2 = client(target, "ec2")
    found = ec2.describe_instances(InstanceIds=[lost.instance_id])["Reservations"][0]["Instances"][0]
    volumes = [one["Ebs"]["VolumeId"] for one in found["BlockDeviceMappings"] if one["DeviceName"] == "/dev/sdf"]
    ec2.terminate_instances(InstanceIds=[lost.instance_id])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[lost.instance_id])
    for volume in volumes:
        ec2.get_waiter("volume_available").wait(VolumeIds=[volume])
        ec2.delete_volume(VolumeId=volume)


def _post(edge: str, thread: str, first: int, count: int) -> None:
    for number in range(first, first + count):
        body = {"email": "drill@example.com", "comment": str(number), "content_id": thread}
        reply = requests.post(f"{edge}/api/comment/new", json=body, timeout=30)
        if not _acknowledged(reply):
            raise CommandError(f"comment {number} was not stored: status {reply.status_code}, {reply.text[:200]!r}")


def _acknowledged(reply: requests.Response) -> bool:
    """Whether the body is the API's own success: a proxy may answer 200 itself."""
    try:
        return bool(reply.ok and reply.json()["status"] == "SUCCESS")
    except (ValueError, KeyError, TypeError):
        return False
