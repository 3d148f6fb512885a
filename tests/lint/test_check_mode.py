"""`make plan` works before anything is installed: a unit that does not exist yet must not fail it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from common.paths import ROOT


def fails_in_check_mode(tasks: list[dict[str, Any]]) -> Iterator[str]:
    """Tasks that start or stop a unit by a module that, unlike host_files, fails in check mode if there is none."""
    for task in tasks:
        yield from fails_in_check_mode(task.get("block", []))
        if "ansible.builtin.systemd_service" in task and "not ansible_check_mode" not in str(task.get("when")):
            yield task["name"]


def test_units_that_are_not_there_yet() -> None:
    files = sorted((ROOT / "roles").glob("*/tasks/*.yml"))
    assert len(files) > 10
    assert [name for file in files for name in fails_in_check_mode(yaml.safe_load(file.read_text()))] == []


@pytest.mark.parametrize(("when", "found"), [({}, ["x"]), ({"when": "not ansible_check_mode"}, [])])
def test_they_are_found(when: dict[str, str], found: list[str]) -> None:
    task = {"name": "x", "ansible.builtin.systemd_service": {"name": "certbot.timer", "state": "stopped"}, **when}
    assert list(fails_in_check_mode([{"name": "y", "block": [task]}])) == found
