"""The overview: is the site healthy, since when, and what changed. Each panel links to another dashboard."""

from . import api, edge, host, slo
from .panels import HALF, SIXTH, THIRD, Board


def board() -> Board:
    b = Board("overview", "Overview", "Is the site healthy, since when, and what changed?")
    b.row("Now", "everything is green. Each panel links to a dashboard with details.")
    b.firing("Alerts firing", 'alertname!="Watchdog"', THIRD, link="edge")
    for objective in slo.OBJECTIVES:
        slo.budget_left(b, objective, SIXTH, link="slo")
    edge.errors_now(b, link="edge")
    api.latency_now(b, api.ALL_BUCKETS, link="api")
    api.replicas_up(b, link="api")
    api.last_release(b, link="api")
    host.newest_backup(b, link="host")
    host.cpu(b, link="host")
    host.memory(b, link="host")
    host.fullest_disk(b, link="host")
    edge.requests(b, "Requests", HALF, link="edge")
    api.latency(b, api.ALL_BUCKETS, link="api")
    return b
