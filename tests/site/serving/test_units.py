"""The systemd units on the host: hardened, and working."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from common.paths import ROOT
from tests.support.site import Site

UNITS = sorted({path.name.removesuffix(".j2") for path in ROOT.glob("roles/*/*/**/comentarios-*.service*")})
# Without a domain there is no certificate to look after: tests/site/changing/test_domain.py has one.
OF_A_DOMAIN = {"comentarios-certbot.service"}


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit not in OF_A_DOMAIN])
def test_unit(unit: str, up: Site) -> None:
    """As systemd on the host judges it, at most 4.0 of 10; and its last run ended well."""
    judged = up.ssh(f"systemd-analyze security --no-pager --threshold=40 {unit}")
    assert judged.returncode == 0, judged.stdout
    started = up.ssh(f"sudo systemctl start {unit} && systemctl show --property=Result {unit}", timeout=120)
    assert started.stdout == "Result=success\n", up.ssh(f"journalctl -u {unit} -n 20 --no-pager").stdout


def test_healing_reports_to_the_watchdog(up: Site, eventually: Callable[..., object]) -> None:
    """Otherwise systemd would restart it again and again."""

    def last() -> int:
        asked = "systemctl show --value --property=WatchdogTimestampMonotonic comentarios-heal.service"
        return int(up.ssh(asked).stdout)

    before = last()
    assert before and eventually(lambda: last() > before, 30)


def test_sshd(up: Site) -> None:
    settings = up.ssh("sudo sshd -T").stdout.splitlines()
    assert {"allowstreamlocalforwarding no", "permituserrc no", "allowtcpforwarding local"} <= set(settings)


def test_kernels_settings_reach_every_interface(up: Site) -> None:
    read = up.ssh("cd /proc/sys/net; grep -H . ipv?/conf/*/accept_redirects ipv?/conf/*/accept_source_route").stdout
    values = dict(line.rsplit(":", 1) for line in read.splitlines())
    there = {name: value for name, value in values.items() if not re.search(r"/(veth\w+|lo)/", name)}
    assert len(there) > 8 and set(there.values()) == {"0"}, there


def test_what_can_wait_waits_for_the_api(up: Site) -> None:
    """As the kernel has it: older control groups express a weight of 20 as 204 shares."""
    timers = {f"{one.stem.removesuffix('.timer')}.service" for one in ROOT.glob("roles/*/*/**/comentarios-*.timer*")}
    waiting = timers | {"comentarios-heal.service"}
    assert len(waiting) >= 4 and waiting <= set(UNITS)
    shown = up.ssh(f"systemctl show --value --property=Slice {' '.join(sorted(waiting - OF_A_DOMAIN))}").stdout
    assert set(shown.split()) == {"comentarios.slice"}, shown
    read = "cat /sys/fs/cgroup/comentarios.slice/cpu.weight /sys/fs/cgroup/cpu/comentarios.slice/cpu.shares 2>/dev/null"
    weight = up.ssh(f"sudo systemd-run --quiet --wait --pipe --slice=comentarios.slice sh -c '{read}'").stdout.split()
    assert weight in (["20"], ["204"]), weight
