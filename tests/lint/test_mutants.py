"""The deliberate faults of `make prove` still apply: each replaced text exists exactly once."""

from __future__ import annotations

import pytest

from tests.proofs.mutants import FAULTS, ROOT, Fault, made


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_can_be_made(fault: Fault) -> None:
    content = (ROOT / fault.file).read_text()
    assert made(fault, content) != content
    assert (ROOT / fault.tests).exists()


def test_names_differ() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 10
