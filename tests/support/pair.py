"""A PostgreSQL and its streaming replica. One address moves to the replica, like the name of RDS Multi-AZ.

Each server has a network namespace of its own in the sandbox's network, as a machine of its own would have it: what is
sent to one that is gone is not answered.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from ipaddress import IPv4Interface

from postgres import Postgres

from common.config import Config
from common.docker import inspect


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Pair:
    """`primary` has the address. `replicate` adds a standby, which `fail_over` makes the primary."""

    def __init__(self, config: Config) -> None:
        network = inspect("network", config.name)
        assert network
        # None of the hosts': EC2 gives the first addresses of a subnet.
        self._address = IPv4Interface(f"{config.subnet[-6]}/{config.subnet.prefixlen}")
        self._namespaces = [f"{config.name}-pg{number}" for number in range(2)]
        # Their names are the machine's, so they are short and this sandbox's own.
        self._outside, self._device = (f"pg{end}{network['Id'][:8]}" for end in "oi")
        self._servers: list[Postgres] = []
        self.close()
        for namespace in self._namespaces:
            _ip("netns", "add", namespace)
        _ip("link", "add", self._outside, "type", "veth", "peer", "name", self._device)
        _ip("link", "set", self._outside, "master", f"br-{network['Id'][:12]}", "up")
        _ip("link", "set", self._device, "netns", self._namespaces[0])
        self._use(self._namespaces[0])
        self._servers = [Postgres.create(self._address, self._namespaces[0])]

    @property
    def primary(self) -> Postgres:
        return self._servers[0]

    def _use(self, namespace: str) -> None:
        """The device has its address in this namespace, and is up."""
        _ip("-n", namespace, "address", "add", str(self._address), "dev", self._device)
        _ip("-n", namespace, "link", "set", self._device, "up")

    def replicate(self, synchronous: bool) -> None:
        """Makes a standby, which every commit waits for if it is synchronous."""
        self._servers.append(self.primary.replica(self._namespaces[1]))
        self.primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{'*' if synchronous else ''}'")
        self.primary.execute("SELECT pg_reload_conf()")
        expected, deadline = "sync" if synchronous else "async", time.monotonic() + 30
        while self.primary.execute("SELECT sync_state FROM pg_stat_replication") != [(expected,)]:
            assert time.monotonic() < deadline, "the standby does not replicate"
            time.sleep(0.1)

    def fail_over(self, unnoticed: float) -> None:
        """The primary's machine is gone at once; after so many seconds the standby is promoted and has the address."""
        first, second = self._namespaces
        standby = self._servers[1]
        _ip("-n", first, "link", "set", self._device, "down")
        self.primary.stop()
        time.sleep(unnoticed)
        standby.promote()
        _ip("-n", first, "link", "set", self._device, "netns", second)
        self._use(second)
        self._servers.pop(0).remove()
        self._namespaces.reverse()

    def close(self) -> None:
        """Removes servers, device and namespaces; those of a run that was killed, too."""
        for server in self._servers:
            server.remove()
        gone = [("netns", "delete", namespace) for namespace in self._namespaces]
        for command in (("link", "delete", self._outside), *gone):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip(*command)
