"""Debian's packages that tests and proofs need: the module of the whole project, within reach of these scripts."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from common.apt import install
from common.errors import CommandError

__all__ = ["CommandError", "install"]
