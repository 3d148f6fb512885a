"""The dashboards' numbers match the requests that the tests sent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tests.support.load import Load
from tests.support.monitoring import Prometheus
from tests.support.site import Site
from tests.support.substitution import queries

PANELS = {
    ("slo", "Requests, 24 h: availability"): ("GET", "POST"),
    ("slo", "Requests, 24 h: latency"): ("GET", "POST"),
    ("slo", "Bad requests, 24 h: availability"): (),
    ("api", "Comments created"): ("POST",),
}


async def _send(edge: str) -> Load:
    load, stop = Load(edge, 50), asyncio.Event()
    asyncio.get_running_loop().call_later(4, stop.set)
    await load.run(stop)
    load.close()
    return load


def test_panels_count_what_was_sent(
    prometheus: Prometheus, up: Site, boards: dict[str, dict[str, Any]], eventually: Callable[..., object]
) -> None:
    """Never too few. `increase` extrapolates: too many by up to 1.5 scrapes' share of the time since the site began."""
    asked = {
        (query.dashboard, query.panel): query.expr
        for uid in boards
        for query in queries(uid, boards[uid])
        if (query.dashboard, query.panel) in PANELS
    }

    def shown() -> dict[tuple[str, str], float]:
        return {panel: float(prometheus.instant(expr)[0]["value"][1]) for panel, expr in asked.items()}

    looks = []
    # As long as from one scrape to the next.
    for _ in range(32):
        looks.append(shown())
        time.sleep(0.5)
    before = {panel: min(look[panel] for look in looks) for panel in PANELS}
    load = asyncio.run(_send(up.edge))
    assert not load.failures
    sent = {panel: sum(load.sent[kind] for kind in kinds) for panel, kinds in PANELS.items()}

    def right() -> bool:
        now = shown()
        scrapes = float(prometheus.instant('min(count_over_time(up{job="api"}[1d]))')[0]["value"][1])
        off = {}
        for one in PANELS:
            more, all_of_them = now[one] - before[one], now[one]
            if not sent[one] - 0.03 * all_of_them - 1 <= more <= sent[one] + 1.5 / scrapes * all_of_them + 1:
                off[one] = more
        assert not off, (off, sent, scrapes)
        return True

    assert sent["api", "Comments created"] >= 100
    assert eventually(right, 45)
