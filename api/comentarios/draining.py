"""Whether this replica is draining."""

import mmap


class Draining:
    """A flag that the serving process and the one that got SIGTERM both see.

    The byte lies in anonymous shared memory made before the server forks its worker, so that the parent, which
    receives the signal, can tell the child, which answers the requests.
    """

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    @property
    def begun(self) -> bool:
        return self._byte[0] != 0

    def begin(self) -> None:
        """From now on /readyz answers 503 and every reply closes its connection."""
        self._byte[0] = 1


# Of this process and its forks.
PROCESS = Draining()
