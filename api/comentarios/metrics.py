"""Prometheus metrics: the exporter's and our own."""

from typing import Any

from flask import Flask, Request
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_flask_exporter import PrometheusMetrics  # type: ignore[import-untyped]

from .config import Settings
from .storage import Storage, StorageError

# Seconds. For replies within milliseconds; 0.25 is the latency objective.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

PATH = "/metrics"
# The label of requests without a route. They share one series, since anybody can invent paths.
NO_ROUTE = "no route"


def url_rule(request: Request) -> str:
    """The value of the label `url_rule`. The exporter takes the label's name from this function."""
    return request.url_rule.rule if request.url_rule else NO_ROUTE


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self, settings: Settings, storage: Storage):
        self.registry = CollectorRegistry()
        self._children: dict[tuple[str, int, str], tuple[Histogram, Counter]] = {}
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        # A set instead of a counter, which would lock twice for each request.
        self.in_flight: set[object] = set()
        in_flight = Gauge("comments_api_requests_in_flight", "Requests being answered now", registry=self.registry)
        in_flight.set_function(lambda: len(self.in_flight))
        self.created = Counter(
            "comments_api_comments_created_total", "Comments stored and acknowledged", registry=self.registry
        )
        storage_seconds = Histogram(
            "comments_api_storage_duration_seconds",
            "Time that the database took",
            ("operation",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.insert_seconds = storage_seconds.labels("insert")
        self.list_seconds = storage_seconds.labels("list")
        self.ping_seconds = storage_seconds.labels("ping")
        size = Gauge("comments_api_database_size_bytes", "Room that the database takes", registry=self.registry)
        size.set_function(lambda: _size(storage))
        build = Gauge(
            "comments_api_build_info",
            "What this was built from",
            ("version", "commit"),
            registry=self.registry,
        )
        build.labels(settings.version, settings.commit).set(1)

    def init_app(self, app: Flask) -> None:
        """Serve /metrics, and count Flask's replies."""
        # By rule: the exporter's default labels by path would create a series for each content_id.
        PrometheusMetrics(app, PATH, group_by=url_rule, buckets=BUCKETS, registry=self.registry)
        # The exporter's metrics are private, but the registry finds collectors by name.
        collectors: dict[str, Any] = self.registry._names_to_collectors
        self._duration = collectors["flask_http_request_duration_seconds"]
        self._total = collectors["flask_http_request_total"]

    def observe(self, method: str, code: int, rule: str, seconds: float) -> None:
        """Count a request that bypassed Flask, in the exporter's metrics."""
        try:
            duration, total = self._children[method, code, rule]
        except KeyError:
            duration, total = self.expect(method, code, rule)
        duration.observe(seconds)
        total.inc()

    def expect(self, method: str, code: int, rule: str) -> tuple[Histogram, Counter]:
        """Start the series of such a reply at 0, since Prometheus cannot see an increase to the first value."""
        duration = self._duration.labels(method=method, status=code, url_rule=rule)
        children = duration, self._total.labels(method=method, status=code)
        self._children[method, code, rule] = children
        return children


def _size(storage: Storage) -> float:
    try:
        return storage.engine.size_bytes()
    except StorageError:
        return float("nan")
