"""The release tests' host and load, for the long proofs."""

from tests.release.conftest import pushed, releases

__all__ = ["pushed", "releases"]
