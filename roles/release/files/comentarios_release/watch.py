"""Is the new release as good as the old one: error ratio and latency at the edge, before and after the switch.

Nothing here talks to anything: it computes.
"""

from __future__ import annotations

import math
import re
from collections import deque
from dataclasses import asdict, dataclass, field

# A handful of requests says nothing: below these numbers no judgement.
LEAST_ERRORS = 5
LEAST_REQUESTS = 20
# The bound of the latency objective.
SLOW_SECONDS = 0.25

_LINE = re.compile(r"^caddy_http_request_duration_seconds_(bucket|count)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Sample:
    """Counters: requests by upper bound of their duration (cumulative, as Prometheus has it), all, and failed ones."""

    requests: float = 0
    errors: float = 0
    buckets: dict[float, float] = field(default_factory=dict)

    def since(self, earlier: Sample) -> Sample:
        """What came on top; after the counters began anew (a reload) that is all they have."""
        if self.requests < earlier.requests or self.errors < earlier.errors:
            return self
        buckets = {bound: count - earlier.buckets.get(bound, 0) for bound, count in self.buckets.items()}
        return Sample(self.requests - earlier.requests, self.errors - earlier.errors, buckets)

    def __add__(self, other: Sample) -> Sample:
        bounds = self.buckets.keys() | other.buckets.keys()
        buckets = {bound: self.buckets.get(bound, 0) + other.buckets.get(bound, 0) for bound in bounds}
        return Sample(self.requests + other.requests, self.errors + other.errors, buckets)

    @property
    def error_ratio(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    @property
    def slow(self) -> float:
        """Seconds that 95 % of the requests stay below, by the buckets' bounds."""
        for bound in sorted(self.buckets):
            if self.buckets[bound] >= 0.95 * self.requests:
                return bound
        return math.inf


def parse(metrics: str) -> Sample:
    """Caddy's metrics as a sample: requests to the API by their last handler, failed ones by status 5xx."""
    requests = errors = 0.0
    buckets: dict[float, float] = {}
    for kind, labels_text, value_text in _LINE.findall(metrics):
        labels, value = dict(_LABEL.findall(labels_text)), float(value_text)
        if labels.get("handler") != "subroute" or labels.get("server") == "metrics":
            continue
        if kind == "bucket":
            bound = float(labels["le"])
            buckets[bound] = buckets.get(bound, 0) + value
        else:
            requests += value
            errors += value if labels["code"].startswith("5") else 0
    return Sample(requests, errors, buckets)


@dataclass(frozen=True)
class Baseline:
    """The old release: share of failed requests, and seconds that 95 % of the requests stay below."""

    error_ratio: float
    slow: float

    @classmethod
    def of(cls, window: Sample, whole: Sample) -> Baseline:
        """From the time just before the switch, or where that saw too little, from the edge's whole time."""
        used = window if window.requests >= LEAST_REQUESTS else whole
        if used.requests < LEAST_REQUESTS:
            return cls(0.0, SLOW_SECONDS)
        return cls(used.error_ratio, used.slow if math.isfinite(used.slow) else SLOW_SECONDS)

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


class Watch:
    """Judges the new release each time that it is given the edge's counters, about once a second."""

    def __init__(self, baseline: Baseline, first: Sample, seconds: int = 5):
        self._baseline = baseline
        self._last = first
        self._whole = Sample()
        self._window: deque[Sample] = deque(maxlen=seconds)

    @property
    def seen(self) -> dict[str, int]:
        """What it has counted so far."""
        return {"requests": round(self._whole.requests), "errors": round(self._whole.errors)}

    def judge(self, now: Sample) -> str:
        """Empty while the release is as good as the old one; else in what it is worse, with the figures."""
        step = now.since(self._last)
        self._last = now
        self._whole += step
        self._window.append(step)
        recent = sum(self._window, Sample())
        return self._errors(recent, f"the last {len(self._window)} s") or (
            self._errors(self._whole, "the watch") or self._latency(recent)
        )

    def _errors(self, seen: Sample, when: str) -> str:
        allowed = 2 * self._baseline.error_ratio + 0.01
        if seen.errors < LEAST_ERRORS or seen.error_ratio <= allowed:
            return ""
        return (
            f"{seen.error_ratio:.1%} of the requests of {when} failed ({seen.errors:.0f} of {seen.requests:.0f}), "
            f"{self._baseline.error_ratio:.1%} before the release"
        )

    def _latency(self, seen: Sample) -> str:
        # One slow second is the swap itself: a whole window has to be slow.
        if len(self._window) < (self._window.maxlen or 0) or seen.requests < LEAST_REQUESTS:
            return ""
        allowed = max(SLOW_SECONDS, 4 * self._baseline.slow)
        worst = all(step.slow > allowed for step in self._window if step.requests)
        if seen.slow <= allowed or not worst:
            return ""
        return (
            f"5 % of the requests of the last {len(self._window)} s took longer than {allowed:g} s, "
            f"before the release none of those within {self._baseline.slow:g} s"
        )
