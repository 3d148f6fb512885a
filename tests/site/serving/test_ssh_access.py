"""The pipeline's access to port 22: open during the job, closed afterwards."""

from __future__ import annotations

import pytest

from cli import ssh_access


@pytest.fixture
def let_in(up):
    """Addresses that may reach port 22, by the rule's description."""

    def listed() -> dict[str, str]:
        return {
            span["CidrIp"]: span.get("Description", "")
            for group in ssh_access.groups(up.target)
            for permission in group["IpPermissions"]
            if permission.get("FromPort") == 22
            for span in permission["IpRanges"]
        }

    return listed


def test_ssh_access_opens_for_one_address_and_closes_without_a_trace(up, let_in):
    before = let_in()
    for address in ("203.0.113.9", "203.0.113.10"):
        done = up.make("ssh-open", ADDRESS=address)
        assert done.returncode == 0, done.stdout
        # What a job that died left open is closed by the next one.
        assert let_in() == before | {f"{address}/32": ssh_access.DESCRIPTION}
    for _ in range(2):
        assert up.make("ssh-close").returncode == 0
        assert let_in() == before


def test_address_that_is_none_is_refused(up, let_in):
    before = let_in()
    done = up.make("ssh-open", ADDRESS="here")
    assert done.returncode != 0 and "ADDRESS=here is not an IPv4 address" in done.stdout
    assert let_in() == before
