"""Folders and files of this checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Everything that is kept between runs; git ignores it.
STATE = ROOT / ".state"
# Programs that this machine lacks (cli/downloads.py).
BIN = STATE / "bin"
# What `make prove` and `make bench` print at their end; the tests append to it.
TABLES = STATE / "proofs.md"
