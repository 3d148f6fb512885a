"""The program that carries out releases on the host: what it reads of the edge."""

from __future__ import annotations

from comentarios_release.watch import Sample, parse


def test_caddys_metrics() -> None:
    text = """
caddy_http_request_duration_seconds_bucket{code="200",handler="subroute",method="GET",server="srv1",le="0.25"} 90
caddy_http_request_duration_seconds_bucket{code="200",handler="subroute",method="GET",server="srv1",le="+Inf"} 100
caddy_http_request_duration_seconds_count{code="200",handler="subroute",method="GET",server="srv1"} 100
caddy_http_request_duration_seconds_count{code="502",handler="subroute",method="POST",server="srv1"} 7
caddy_http_request_duration_seconds_count{code="502",handler="reverse_proxy",method="POST",server="srv1"} 7
caddy_http_request_duration_seconds_count{code="200",handler="metrics",method="GET",server="metrics"} 50
"""
    assert parse(text) == Sample(107, 7, {0.25: 90, float("inf"): 100})
