"""Every molecule scenario: converge, idempotence, verify."""

from __future__ import annotations

import pytest

from tests.support.site import ROOT

SCENARIOS = sorted(file.parent.name for file in (ROOT / "molecule").glob("*/molecule.yml"))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenarios, scenario):
    done = scenarios[scenario].result()
    assert done.returncode == 0, done.stdout[-8000:]
