"""Each deliberate fault is caught by a unit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proofs.mutants import FAULTS, Fault, caught, copy


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield copy(tmp_path_factory.mktemp("tree"))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_caught(fault: Fault, tree: Path) -> None:
    assert caught(fault, tree), f"no test of {fault.tests} fails"
