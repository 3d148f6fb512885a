"""The watch's verdicts on sequences of the edge's counters."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import pytest
from comentarios_release.watch import Baseline, Sample, Watch

QUIET = Baseline(error_ratio=0.0, slow=0.05)
# One second: requests, of those failed, of those slow; of those failed, refused.
Second = tuple[int, int, int] | tuple[int, int, int, int]
FINE: Second = (200, 0, 0)


def counted(seconds: list[Second], first: Sample | None = None) -> list[Sample]:
    """The counters after each second."""
    total, samples = first or Sample(), []
    for requests, errors, slow, *refused in seconds:
        buckets: dict[float, float] = {0.05: requests - slow, 0.25: requests - slow, 2.5: requests, math.inf: requests}
        total = total + Sample(requests, errors, buckets, sum(refused), 1)
        samples.append(total)
    return samples


VERDICTS: dict[str, tuple[Baseline, list[Second], int | None, str]] = {
    "as good as the old one": (QUIET, [FINE] * 60, None, ""),
    "no request at all": (QUIET, [(0, 0, 0)] * 60, None, ""),
    "all fail at once": (QUIET, [FINE, (200, 200, 0)], 1, "50.0% of the requests of the last 2 s failed (200 of 400)"),
    "five failures are the least that count": (QUIET, [(5, 4, 0), (0, 0, 0), (1, 1, 0)], 2, "(5 of 6), 0.0% before"),
    "four failures of four say nothing": (QUIET, [(4, 4, 0)] + [(0, 0, 0)] * 60, None, ""),
    "one per cent is allowed": (QUIET, [(500, 5, 0)] * 60, None, ""),
    "more than one per cent is not": (QUIET, [(500, 6, 0)] * 60, 0, "1.2% of the requests of the last 1 s failed"),
    "twice the old share and one per cent is allowed": (Baseline(0.05, 0.05), [(1000, 110, 0)] * 60, None, ""),
    "more than that is not": (Baseline(0.05, 0.05), [(1000, 111, 0)] * 60, 0, "(111 of 1000), 5.0% before the release"),
    "a few failures now and then, over the whole watch": (
        QUIET,
        [(20, second % 2, 0) for second in range(60)],
        9,
        "2.5% of the requests of the watch failed (5 of 200)",
    ),
    "a burst long ago does not count for ever": (QUIET, [(10_000, 0, 0)] * 10 + [(100, 4, 0)] + [FINE] * 9, None, ""),
    "slow for five seconds": (QUIET, [(200, 0, 100)] * 5, 4, "of the last 5 s took longer than 0.25 s"),
    "slow for four seconds": (QUIET, [(200, 0, 200)] * 4 + [FINE] * 56, None, ""),
    "one slow second": (QUIET, [FINE, (200, 0, 200)] + [FINE] * 58, None, ""),
    "five per cent are slow": (QUIET, [(200, 0, 10)] * 60, None, ""),
    "more than five per cent are slow": (QUIET, [(200, 0, 11)] * 60, 4, "before the release, 95 % took at most 0.05"),
    "slow, with the least requests that count": (QUIET, [(4, 0, 4)] * 60, 4, "took longer"),
    "slow, with fewer": (QUIET, [(3, 0, 3)] * 60, None, ""),
    "slow, in those seconds that had requests": (QUIET, [(40, 0, 40), (0, 0, 0)] * 30, 4, "took longer"),
    "as slow as the old one": (Baseline(0.0, 2.5), [(200, 0, 200)] * 60, None, ""),
    "refusals count where as many requests come as before": (
        Baseline(0.0, 0.05, rate=100),
        [(100, 5, 0, 5)] * 60,
        0,
        "5.0% of the requests of the last 1 s were refused by a full queue (5 of 100, without",
    ),
    "and where nobody knows how many came": (QUIET, [(2000, 1100, 0, 1100)] * 60, 0, "55.0% of the requests"),
    "four refusals say nothing": (QUIET, [(4, 4, 0, 4)] + [(0, 0, 0)] * 60, None, ""),
    "refusals now and then, over the whole watch": (
        Baseline(0.0, 0.05, rate=20),
        [(20, second % 2, 0, second % 2) for second in range(60)],
        9,
        "2.5% of the requests of the watch were refused",
    ),
    "a flood that begins after the release": (Baseline(0.0, 0.05, rate=100), [(2000, 1100, 0, 1100)] * 60, None, ""),
    "and a release that answers less of it than came before": (
        Baseline(0.0, 0.05, rate=1000),
        [(2000, 1100, 0, 1100)] * 60,
        0,
        "(100 of 1000, without those beyond the earlier rate), 0.0% before the release",
    ),
    "a flood from before that grows": (Baseline(0.0, 0.05, 0.1, 1000), [(3000, 2100, 0, 2100)] * 60, None, ""),
    "and a release that answers half as many": (
        Baseline(0.0, 0.05, 0.1, 1000),
        [(3000, 2550, 0, 2550)] * 60,
        0,
        "55.0% of the requests of the last 1 s were refused by a full queue (550 of 1000",
    ),
    "failures in a flood that has most requests refused": (
        Baseline(0.0, 0.05, 0.6, 1000),
        [(1000, 1000, 0, 600)] * 60,
        0,
        "40.0% of the requests of the last 1 s failed (400 of 1000), 0.0% before",
    ),
    "failures come before slowness": (QUIET, [(4, 0, 4)] * 4 + [(20, 10, 20)], 4, "failed (10 of 36)"),
}


@pytest.mark.parametrize("name", VERDICTS)
@pytest.mark.parametrize("first", [Sample(), Sample(5000, 100, {0.05: 5000, 0.25: 5000, 2.5: 5000})])
def test_verdict(name: str, first: Sample) -> None:
    """What the counters were when the watch began plays no part."""
    baseline, seconds, at, verdict = VERDICTS[name]
    watch = Watch(baseline, first)
    verdicts = [watch.judge(sample) for sample in counted(seconds, first)]
    found = next((second for second, problem in enumerate(verdicts) if problem), None)
    assert found == at, verdicts
    assert at is None or verdict in verdicts[at]


def test_counters_may_begin_anew() -> None:
    """The edge was reloaded: what it has is all since then."""
    watch = Watch(QUIET, Sample(5000, 10, {}))
    assert not any(watch.judge(sample) for sample in counted([FINE] * 10))
    watch = Watch(QUIET, Sample(5000, 10, {}))
    assert "(6 of 100)" in watch.judge(Sample(100, 6, {}))
    watch = Watch(QUIET, Sample(5, 6, {}, 7))
    assert "(6 of 100" in watch.judge(Sample(100, 6, {}, 6, 1))
    # Fewer failures than before show it, too, where there are more requests already.
    assert Sample(6000, 1, {}).since(Sample(5000, 10, {})) == Sample(6000, 1, {})


@pytest.mark.parametrize(
    ("window", "whole", "expected"),
    [
        ((200, 2, 0), (1000, 500, 0), Baseline(0.01, 0.05)),
        ((200, 0, 200), (1000, 0, 0), Baseline(0.0, 2.5)),
        ((20, 1, 0), (1000, 0, 0), Baseline(0.05, 0.05)),
        # Too few just before the switch: all that the edge has seen.
        ((19, 19, 19), (1000, 10, 0), Baseline(0.01, 0.05)),
        # And where that is too little: a few failures must not make every release as good as the old one.
        ((3, 3, 3), (19, 19, 19), Baseline(0.0, 0.25)),
        ((0, 0, 0), (0, 0, 0), Baseline(0.0, 0.25)),
    ],
)
def test_baseline(window: Second, whole: Second, expected: Baseline) -> None:
    assert Baseline.of(counted([window])[0], counted([whole])[0]) == replace(expected, rate=window[0])
    assert Baseline(**asdict(expected)) == expected


def test_slower_than_every_bucket_that_is_finite() -> None:
    assert Sample(100, 0, {0.25: 0, math.inf: 100}).slow == math.inf
    assert Baseline.of(Sample(100, 0, {0.25: 0}), Sample()) == Baseline(0.0, 0.25)


def test_baseline_of_a_flood() -> None:
    flood = Sample(3000, 1530, {}, refused=1500, seconds=3)
    assert Baseline.of(flood, flood) == Baseline(0.01, 0.25, 0.5, 1000)
    assert Baseline.of(replace(flood, seconds=0.9), flood).rate == 0


def test_edges_many_buckets_are_added() -> None:
    assert Sample(1, 1, {0.1: 1}) + Sample(2, 0, {0.1: 1, 0.5: 2}) == Sample(3, 1, {0.1: 2, 0.5: 2})
