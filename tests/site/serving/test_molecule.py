"""Every molecule scenario: the whole site's, and the roles' own; converge, idempotence, verify."""

from __future__ import annotations

import pytest

from tests.support.site import ROOT

FOLDERS = [
    file.parents[2] for where in (".", "roles/*") for file in sorted(ROOT.glob(f"{where}/molecule/*/molecule.yml"))
]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_scenario(scenarios, folder):
    done = scenarios[folder].result()
    assert done.returncode == 0, done.stdout[-8000:]
