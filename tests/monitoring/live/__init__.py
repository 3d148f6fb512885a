"""Tests against a stack that runs: what `make up` made."""
