"""How many requests one client may make of this replica."""

import ipaddress
import time

WINDOW = 10  # seconds over which the rate is averaged, so that a burst is no offence


class ClientRate:
    """Counts the requests of each client in the current window.

    A client is the address in X-Real-IP, which the edge sets, or of an IPv6 address its network of 64 bits. Who comes
    without one does not come through the edge: probes, development. Counts are one replica's own.

    rate: requests a second that one client may make, averaged over `WINDOW`.

    The threads share it without a lock: a count that two of them raise at once may come out one short.
    """

    def __init__(self, rate: float):
        self._most = rate * WINDOW
        self._counts: dict[str, int] = {}
        self._ends = 0.0

    def wait(self, environ: dict) -> int:
        """Seconds after which this client may ask again; 0 when it may now, and then the request is counted."""
        client = environ.get("HTTP_X_REAL_IP")
        if not client:
            return 0
        now = time.monotonic()
        if now >= self._ends:
            self._counts, self._ends = {}, now + WINDOW
        if ":" in client:
            client = _network(client)
        count = self._counts.get(client, 0)
        if count >= self._most:
            return max(1, round(self._ends - now))
        self._counts[client] = count + 1
        return 0


def _network(address: str) -> str:
    try:
        return str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        return address
