"""The search for the highest rate that a site carries."""

from __future__ import annotations

import pytest

from tests.support import crowd


@pytest.mark.parametrize("carries", [60, 199, 446, 2_000])
@pytest.mark.parametrize("guess", [100, 400, 1_500])
def test_rate_that_a_site_carries(carries: int, guess: int) -> None:
    steps: list[int] = []

    def step(rate: int) -> bool:
        steps.append(rate)
        return rate <= carries

    found = crowd.carried(step, guess)
    assert found <= carries < found * crowd.NEAR * 1.02
    assert len(set(steps)) <= 20 and all(steps.count(rate) == (1 if rate <= carries else 2) for rate in steps)


def test_hiccup_is_not_the_sites() -> None:
    """Of the first attempt at each rate."""
    tried: set[int] = set()

    def step(rate: int) -> bool:
        calm = rate in tried and rate <= 446
        tried.add(rate)
        return calm

    assert crowd.carried(step, 400) <= 446 < crowd.carried(step, 400) * crowd.NEAR * 1.02


def test_site_that_carries_nothing() -> None:
    assert crowd.carried(lambda _: False, 400) == 0
