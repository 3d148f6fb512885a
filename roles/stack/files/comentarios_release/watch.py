"""Compares the new release with the old one: errors at the edge and latency of the replicas. Pure computation."""

import csv
import math
import re
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

# Steps that are judged together: about as many seconds.
WINDOW = 5
# Below these numbers there is no judgement.
MIN_ERRORS = 5
MIN_REQUESTS = 20
# The bound of the latency objective.
SLOW_SECONDS = 0.25

_BUCKET = re.compile(r"^flask_http_request_duration_seconds_bucket\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Sample:
    """Counters: the edge's requests and errors, and the durations at the replicas.

    Attributes:
        errors: requests that were answered with 5xx.
        buckets: the replicas' requests by upper bound of their duration (cumulative, as Prometheus has it).
        refused: those of them that the edge refused because too many waited.
        seconds: when this was read; of an increase, how long it took.
    """

    requests: float = 0
    errors: float = 0
    buckets: dict[float, float] = field(default_factory=dict)
    refused: float = 0
    seconds: float = field(default=0, compare=False)

    def since(self, earlier: "Sample") -> "Sample":
        """The increase since an earlier sample. Counters that were reset (a reload, a new replica) count from zero."""
        answered, failed = self.requests - earlier.requests, self.errors - earlier.errors
        refused = self.refused - earlier.refused
        if min(answered, failed, refused) < 0:
            answered, failed, refused = self.requests, self.errors, self.refused
        buckets = {bound: count - earlier.buckets.get(bound, 0) for bound, count in self.buckets.items()}
        if min(buckets.values(), default=0) < 0:
            buckets = self.buckets
        return Sample(answered, failed, buckets, refused, self.seconds - earlier.seconds)

    def __add__(self, other: "Sample") -> "Sample":
        bounds = self.buckets.keys() | other.buckets.keys()
        buckets = {bound: self.buckets.get(bound, 0) + other.buckets.get(bound, 0) for bound in bounds}
        answered, failed = self.requests + other.requests, self.errors + other.errors
        return Sample(answered, failed, buckets, self.refused + other.refused, self.seconds + other.seconds)

    @property
    def failed(self) -> float:
        """The number of errors that are not refusals. HAProxy counts a refusal a moment before its 503."""
        return max(0.0, self.errors - self.refused)

    @property
    def error_ratio(self) -> float:
        return self.failed / self.requests if self.requests else 0.0

    @property
    def refused_ratio(self) -> float:
        return self.refused / self.requests if self.requests else 0.0

    @property
    def timed(self) -> float:
        """The number of requests with a duration."""
        return max(self.buckets.values(), default=0.0)

    @property
    def slow(self) -> float:
        """The 95th percentile of the duration in seconds, as a bucket's bound."""
        return next((bound for bound in sorted(self.buckets) if self.buckets[bound] >= 0.95 * self.timed), math.inf)


def requests(statistics: str) -> tuple[float, float, float]:
    """From `show stat`: the requests to the API, those with 5xx, including HAProxy's own, and the refused ones."""
    answered = failed = refused = 0.0
    for row in csv.DictReader(statistics.strip().removeprefix("# ").splitlines()):
        if row["svname"] == "BACKEND" and row["pxname"] in ("api", "crowd"):
            answered += sum(float(row[f"hrsp_{kind}"] or 0) for kind in ("1xx", "2xx", "3xx", "4xx", "5xx", "other"))
            failed += float(row["hrsp_5xx"] or 0)
            # The backends' only rule that denies requests.
            refused += float(row["dreq"] or 0)
    return answered, failed, refused


def latency(metrics: Iterable[str]) -> dict[float, float]:
    """The replicas' requests without probes, by upper bound of the duration."""
    buckets: defaultdict[float, float] = defaultdict(float)
    for found, value in (found for one in metrics for found in _BUCKET.findall(one)):
        labels = dict(_LABEL.findall(found))
        if labels.get("url_rule", "").startswith("/api/"):
            buckets[float(labels["le"])] += float(value)
    return dict(buckets)


@dataclass(frozen=True)
class Baseline:
    """Attributes:
    error_ratio, refused_ratio: the old release's shares of failed and of refused requests.
    slow: its 95th percentile in seconds.
    rate: how many requests a second came; 0 if that is not known.
    """

    error_ratio: float = 0
    slow: float = SLOW_SECONDS
    refused_ratio: float = 0
    rate: float = 0

    @classmethod
    def of(cls, window: Sample, whole: Sample) -> Self:
        """From the time just before the switch or, with too few requests, from the edge's whole lifetime."""
        errors = window if window.requests >= MIN_REQUESTS else whole
        times = window if window.timed >= MIN_REQUESTS else whole
        slow = times.slow if times.timed >= MIN_REQUESTS else SLOW_SECONDS
        if errors.requests < MIN_REQUESTS:
            errors = Sample()
        # A moment is too short for a rate.
        rate = window.requests / window.seconds if window.seconds >= 1 else 0
        slow = slow if math.isfinite(slow) else SLOW_SECONDS
        return cls(errors.error_ratio, slow, errors.refused_ratio, rate)


class Watch:
    """Judges the new release by the edge's counters, about once a second."""

    def __init__(self, baseline: Baseline, first: Sample):
        self._baseline = baseline
        self._last = first
        self._whole = Sample()
        self._window: deque[Sample] = deque(maxlen=WINDOW)

    @property
    def seen(self) -> dict[str, int]:
        """The requests and errors so far."""
        return {"requests": round(self._whole.requests), "errors": round(self._whole.errors)}

    def judge(self, now: Sample) -> str:
        """Empty if the release is as good as the old one; otherwise how it is worse, with figures."""
        step = now.since(self._last)
        self._last = now
        self._whole += step
        self._window.append(step)
        recent = sum(self._window, Sample())
        seconds = f"the last {len(self._window)} s"
        return (
            self._errors(recent, seconds)
            or self._errors(self._whole, "the watch")
            or self._refusals(recent, seconds)
            or self._refusals(self._whole, "the watch")
            or self._latency(recent)
        )

    def _errors(self, seen: Sample, when: str) -> str:
        allowed = 2 * self._baseline.error_ratio + 0.01
        if seen.failed < MIN_ERRORS or seen.error_ratio <= allowed:
            return ""
        return (
            f"{seen.error_ratio:.1%} of the requests of {when} failed ({seen.failed:.0f} of {seen.requests:.0f}), "
            f"{self._baseline.error_ratio:.1%} before the release"
        )

    def _refusals(self, seen: Sample, when: str) -> str:
        # Where more requests come than before, the old release would have refused the others, too.
        more = max(0.0, seen.requests - self._baseline.rate * seen.seconds) if self._baseline.rate else 0.0
        beyond = min(more, seen.refused)
        refused, asked = seen.refused - beyond, seen.requests - beyond
        if refused < MIN_ERRORS or refused <= (2 * self._baseline.refused_ratio + 0.01) * asked:
            return ""
        return (
            f"{refused / asked:.1%} of the requests of {when} were refused by a full queue ({refused:.0f} of "
            f"{asked:.0f}, without those beyond the earlier rate), "
            f"{self._baseline.refused_ratio:.1%} before the release"
        )

    def _latency(self, seen: Sample) -> str:
        # The switch itself may cause a slow second, so the whole window must be slow.
        if len(self._window) < WINDOW or seen.timed < MIN_REQUESTS:
            return ""
        allowed = max(SLOW_SECONDS, 4 * self._baseline.slow)
        worst = all(step.slow > allowed for step in self._window if step.timed)
        if seen.slow <= allowed or not worst:
            return ""
        return (
            f"5 % of the requests of the last {WINDOW} s took longer than {allowed:g} s; "
            f"before the release, 95 % took at most {self._baseline.slow:g} s"
        )
