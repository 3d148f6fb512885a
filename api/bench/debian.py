"""Debian's packages that tests and proofs need: the sandbox's module, within reach of these scripts."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from sandbox.debian import install

__all__ = ["install"]
