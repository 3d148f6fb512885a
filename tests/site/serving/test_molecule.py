"""The roles' molecule scenarios: converge, idempotence, verify. With PROVE=yes also the site's."""

from __future__ import annotations

import os

import pytest

from tests.support.site import ROOT

# The site's scenario converges what `make up` does, and asks for what the tests of the site ask for.
PLACES = ("roles/*", ".") if os.environ.get("PROVE") == "yes" else ("roles/*",)
FOLDERS = [file.parents[2] for where in PLACES for file in sorted(ROOT.glob(f"{where}/molecule/*/molecule.yml"))]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_scenario(scenarios, folder):
    done = scenarios[folder].result()
    assert done.returncode == 0, done.stdout[-8000:]
