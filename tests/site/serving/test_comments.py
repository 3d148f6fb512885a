"""The verbs for comments, judged by the replies of each replica through the edge."""

from __future__ import annotations

import re
import uuid

import requests

from cli import host
from tests.support import replies
from tests.support.releases import Releases, lossless
from tests.support.site import Site


def given(variables: dict[str, str]) -> list[str]:
    """On make's command line: it does not take EMAIL from the environment."""
    return [f"{name}={value}" for name, value in variables.items()]


def done(up: Site, *arguments: str, **variables: str) -> str:
    """The output of a verb that must succeed."""
    ran = up.make("-s", *arguments, *given(variables), timeout=120)
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def refused(up: Site, *arguments: str, **variables: str) -> str:
    """The one line of a verb that must fail."""
    ran = up.make("-s", *arguments, *given(variables), timeout=120)
    lines = [line for line in ran.stdout.splitlines() if line.startswith("✗")]
    assert ran.returncode != 0 and len(lines) == 1 and "Traceback" not in ran.stdout, ran.stdout
    return lines[0]


def gone(up: Site, thread: str) -> bool:
    """Whether every replica answers as if the thread had never been there."""
    answers = [requests.get(f"{up.edge}/api/comment/list/{thread}", timeout=10) for _ in range(8)]
    return all(one.json() == {"status": "NOT-FOUND", "message": f"content_id {thread} not found"} for one in answers)


def post(up: Site, thread: str, comment: str, email: str) -> None:
    body = {"email": email, "comment": comment, "content_id": thread}
    reply = requests.post(f"{up.edge}/api/comment/new", json=body, timeout=10)
    assert reply.json()["status"] == "SUCCESS", reply.text


def traces(up: Site, address: str) -> str:
    """The files of the host that have an address: databases, their logs, containers' logs, the journal."""
    folders = "/var/lib/comentarios /var/lib/docker/containers /var/log /run/log"
    # On standard input: sudo writes command lines to the journal.
    return host.run(up.target, up.host, f"sudo grep -rilFf - {folders}", given=address).stdout


def test_comments_that_must_go(up: Site, releases: Releases) -> None:
    """Posted, found, hidden, shown again and erased, restored from before; and all of it in the log. Under load."""
    mark = uuid.uuid4().hex[:12]
    thread, bob = f"moderated-{mark}", f"bob-{mark}@example.com"
    post(up, thread, "first", "alice@example.com")
    post(up, thread, f"'; $(id) {mark}", bob)
    post(up, thread, f"write to {bob}", "carol@example.com")
    before = re.search(r"(\S+\.gz): \d+ comments", done(up, "backup"))
    assert before and "/var/lib/comentarios/comentarios.db" in traces(up, bob)
    with releases.load() as report:
        table = done(up, "comments", THREAD=thread).splitlines()
        assert [line.split()[2] for line in table[1:]] == [thread[:19] + "…"] * 3
        number = next(line.split()[0] for line in table if "$(id)" in line)
        listed = requests.get(f"{up.edge}/api/comment/list/{thread}", timeout=10)
        assert done(up, "hide", ID=number, WHY=f"spam of {bob}; $(id)") == f"comment {number} is hidden\n"
        again = requests.get(listed.url, headers={"If-None-Match": listed.headers["ETag"]}, timeout=10)
        assert [one["comment"] for one in again.json()] == ["first", f"write to {bob}"]
        assert " hidden " in done(up, "comments", EMAIL=bob, SINCE="1h", GREP="$(ID)")
        assert done(up, "unhide", ID=number, WHY="no spam") == f"comment {number} is visible\n"
        assert replies.comments(up.edge, thread) == ["first", f"'; $(id) {mark}", f"write to {bob}"]
        said = done(up, "erase", EMAIL=bob.upper(), WHY=f"{bob} asked")
    lossless(report)
    assert "erased: 1 comments of the address, and the address in 1 others" in said
    assert re.search(
        r"existing backups still contain it, until 20\d\d-\d\d-\d\d at the latest: .* 2 days, .* after 30", said
    )
    assert replies.comments(up.edge, thread) == ["first", "write to [erased]"]
    assert not traces(up, bob)
    log = done(up, "audit").splitlines()[1:4]
    assert [line.split()[1] for line in log] == ["erase", "unhide", "hide"]
    assert bob not in str(log) and log[0].endswith("[erased] asked") and log[2].endswith("spam of [erased]; $(id)")
    # A restore from before all of this does not bring it back.
    done(up, "restore", FROM=before[1])
    assert replies.comments(up.edge, thread) == ["first", "write to [erased]"] and not traces(up, bob)
    assert [line.split()[1] for line in done(up, "audit").splitlines()[1:4]] == ["erase", "unhide", "hide"]


def test_thread_of_which_nothing_is_left(up: Site) -> None:
    thread = f"spam-{uuid.uuid4().hex[:12]}"
    for text in "ab":
        post(up, thread, text, "spam@example.com")
    numbers = " ".join(line.split()[0] for line in done(up, "comments", THREAD=thread).splitlines()[1:])
    done(up, "hide", ID=numbers, WHY="spam")
    assert gone(up, thread)
    done(up, "unhide", ID=numbers, WHY="no spam")
    assert replies.comments(up.edge, thread) == ["a", "b"]


def test_faults_are_one_line(up: Site) -> None:
    assert refused(up, "hide", ID="999999999", WHY="spam") == (
        f"✗ {up.host.name}: there is no comment 999999999, and nothing was changed: `make comments` lists them"
    )
    assert refused(up, "hide", ID="1; id", WHY="spam").startswith("✗ ID=1; id is not the id of a comment")
    assert refused(up, "erase", EMAIL="bob", WHY="asked").startswith("✗ EMAIL=bob is not an e-mail address")
    assert refused(up, "erase", EMAIL="bob@example.com").startswith("✗ WHY must be given")
