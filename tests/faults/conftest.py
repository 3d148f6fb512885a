"""The release tests' load and host, here for faults."""

from tests.release.conftest import pushed, releases

__all__ = ["pushed", "releases"]
