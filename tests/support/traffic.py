"""A load with known counts, and its series in a Prometheus that scrapes every 15 seconds.

Replicas come and go and the edge begins anew, as in a release and a crash; each counter starts at 0 with its process.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

SCRAPE = 15
LIST, NEW = "/api/comment/list/<path:content_id>", "/api/comment/new"
# A hundred requests: method, route, status, seconds.
HUNDRED = [
    *[("GET", LIST, 200, 0.002)] * 60,
    *[("GET", LIST, 404, 0.002)] * 4,
    *[("POST", NEW, 200, 0.004)] * 22,
    *[("POST", NEW, 200, 0.3)] * 8,
    *[("POST", NEW, 400, 0.001)] * 4,
    *[("POST", NEW, 503, 0.004)] * 2,
]
BUCKETS = (0.001, 0.0025, 0.005, 0.25, 0.5)


@dataclass
class Process:
    """A target from its birth to its death, in seconds; what it has counted by each scrape."""

    job: str
    instance: str
    born: float = 0
    died: float = float("inf")
    counters: Counter[str] = field(default_factory=Counter)
    seen: dict[str, dict[int, float]] = field(default_factory=dict)

    def alive(self, at: float) -> bool:
        return self.born <= at < self.died

    def scrape(self, at: int) -> None:
        samples = {"up{}": 1.0, "process_start_time_seconds{}": self.born, **self.counters}
        if self.job == "api":
            samples[f'comments_api_build_info{{version="v{self.born:g}"}}'] = 1
        for name, value in samples.items():
            self.seen.setdefault(name, {})[at] = value


class Site:
    """One host's edge and replicas under a load, from second 0 on."""

    def __init__(self, replicas: list[Process], edge_restarts: tuple[int, ...] = ()):
        starts = (0, *edge_restarts)
        self._edges = [
            Process("edge", "edge:8405", born, died) for born, died in zip(starts, (*edge_restarts, 1e9), strict=True)
        ]
        self._replicas = replicas
        self.sent: Counter[str] = Counter()
        self._number = 0

    def run(self, seconds: int, load: list[tuple[int, int, int]]) -> None:
        """Requests a second from one second to another: (from, to, how many)."""
        for edge in self._edges:
            # HAProxy has each class from its start; the API's series begin with the first request.
            for digit in range(1, 6):
                edge.counters[self._edge("backend", "api", f"{digit}xx")] = 0
                edge.counters[self._edge("frontend", "public", f"{digit}xx")] = 0
        for replica in self._replicas:
            replica.counters["comments_api_comments_created_total{}"] = 0
        for second in range(seconds + 1):
            if second % SCRAPE == 0:
                for process in [*self._edges, *self._replicas]:
                    if process.alive(second):
                        process.scrape(second)
            for begin, end, rate in load:
                if begin <= second < end:
                    for _ in range(rate):
                        self._request(second)

    def _request(self, second: int) -> None:
        method, route, status, took = HUNDRED[self._number * 37 % 100]
        stored = method == "POST" and status == 200
        serving = [one for one in self._replicas if one.alive(second)]
        replica = serving[self._number % len(serving)]
        self._number += 1
        code = f"{status // 100}xx"
        (edge,) = (one for one in self._edges if one.alive(second))
        edge.counters[self._edge("backend", "api", code)] += 1
        edge.counters[self._edge("frontend", "public", code)] += 1
        labels = f'method="{method}", status="{status}", url_rule="{route}"'
        replica.counters[f"flask_http_request_duration_seconds_count{{{labels}}}"] += 1
        for bound in (*BUCKETS, float("inf")):
            le = "+Inf" if bound == float("inf") else f"{bound:g}"
            replica.counters[f'flask_http_request_duration_seconds_bucket{{{labels}, le="{le}"}}'] += took <= bound
        replica.counters["comments_api_comments_created_total{}"] += stored
        slow = status == 200 and took > 0.25
        self.sent.update({"all": 1, code: 1, "created": stored, "slow": slow, "bad": status >= 500})

    @staticmethod
    def _edge(side: str, proxy: str, code: str) -> str:
        return f'haproxy_{side}_http_responses_total{{proxy="{proxy}", code="{code}"}}'

    def series(self, host: str = "") -> dict[str, str]:
        """Values every 15 seconds by series, for promtool. Who took another's place goes on in its series."""
        merged: dict[str, dict[int, float]] = {}
        for process in [*self._edges, *self._replicas]:
            labels = f'job="{process.job}", instance="{process.instance}"'
            if process.job == "api":
                labels += f', replica="{process.instance}"'
            if host:
                labels += f', host="{host}"'
            for name, samples in process.seen.items():
                whole = name.replace("{}", f"{{{labels}}}") if "{}" in name else name.replace("{", f"{{{labels}, ")
                merged.setdefault(whole, {}).update(samples)
        last = max(at for samples in merged.values() for at in samples)
        return {
            name: " ".join(f"{samples[at]:g}" if at in samples else "_" for at in range(0, last + 1, SCRAPE))
            for name, samples in merged.items()
        }
