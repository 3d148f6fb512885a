"""The names of backups, which determine their lifecycle and their order."""

from __future__ import annotations

import re
from pathlib import Path

from comentarios_backup.store import Store, made_at

ROOT = Path(__file__).resolve().parents[3]

NOON = 1795608000.0  # 2026-11-25 12:00 UTC


class Listed(Store):
    """A store whose list is given."""

    def __init__(self, *names: str) -> None:
        self._listed = list(names)

    def names(self) -> list[str]:
        return self._listed


def test_the_first_of_a_day_is_kept_for_longer() -> None:
    yesterday = ("daily-20261124T000000Z-aaaa.db", "20261124T234500Z-bbbb.db")
    assert Listed(*yesterday).new_name(NOON) == "daily-20261125T120000Z"
    assert Listed(*yesterday, "daily-20261125T000000Z-cccc.db").new_name(NOON) == "20261125T120000Z"
    assert Listed().new_name(NOON) == "daily-20261125T120000Z"


def test_the_order_is_that_of_the_time() -> None:
    names = ["daily-20261124T000000Z-aaaa.db", "20261125T001500Z-cccc.db", "daily-20261125T000000Z-bbbb.db"]
    assert sorted(names, key=made_at) == [names[0], names[2], names[1]]


def test_the_lifecycle_goes_by_the_same_names() -> None:
    rules = set(re.findall(r'"\$\{local\.backup_prefix\}(\S+)" +=', (ROOT / "terraform" / "storage.tf").read_text()))
    assert rules == {"daily-", "2"}
    assert Listed().new_name(NOON).startswith("daily-")
    assert Listed("daily-20261125T000000Z-cccc.db").new_name(NOON).startswith("2")
