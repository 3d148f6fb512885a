"""How many requests one client may make of this replica."""

import functools
import ipaddress
import time

from .errors import ApiError

WINDOW = 10  # seconds over which the rate is averaged, so that a burst is no offence

# Without a dash: WSGI folds `X-Real-IP` and `X_Real_IP`, which anybody may send, into one variable.
HEADER = "ClientIP"
_VARIABLE = f"HTTP_{HEADER.upper()}"
_LONGEST = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")


class ClientRate:
    """Counts the requests of each client in the current window.

    A client is the address in `HEADER`, which the edge sets, or of an IPv6 address its network of 64 bits. Who comes
    without one does not come through the edge: probes, development. Counts are one replica's own.

    rate: requests a second that one client may make, averaged over `WINDOW`.

    The threads share it without a lock: a count that two of them raise at once may come out one short.
    """

    def __init__(self, rate: float):
        self._most = rate * WINDOW
        self._counts: dict[str, int] = {}
        self._ends = 0.0

    def wait(self, environ: dict[str, str]) -> int:
        """Seconds after which this client may ask again; 0 when it may now, and then the request is counted.

        Raises `ApiError` when the header holds anything but one address.
        """
        address = environ.get(_VARIABLE)
        if address is None:
            return 0
        client = _client(address) if len(address) <= _LONGEST else None
        if client is None:
            raise ApiError(400, f"the header {HEADER} should be one IP address, and only the edge should set it")
        now = time.monotonic()
        if now >= self._ends:
            self._counts, self._ends = {}, now + WINDOW
        count = self._counts.get(client, 0)
        if count >= self._most:
            return max(1, round(self._ends - now))
        self._counts[client] = count + 1
        return 0


@functools.lru_cache(maxsize=1024)
def _client(text: str) -> str | None:
    """What counts as one client; None when `text` is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        # As a socket for both versions shows IPv4: one network of 64 bits would be all of it.
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
