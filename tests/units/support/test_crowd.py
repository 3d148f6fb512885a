"""The search for the highest rate that a site carries."""

from __future__ import annotations

import random

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
    assert carries / crowd.NEAR < found < carries * crowd.NEAR
    assert len(steps) <= 30


@pytest.mark.parametrize("seed", range(20))
def test_disturbed_steps_change_little(seed: int) -> None:
    """One of ten steps ends as if the site carried another rate."""
    chance = random.Random(seed)

    def step(rate: int) -> bool:
        return (rate <= 446) is (chance.random() > 0.1)

    assert 446 / 1.15 < crowd.carried(step, 400) < 446 * 1.15


def test_site_that_carries_nothing() -> None:
    assert crowd.carried(lambda _: False, 400) == 0
