"""How the watch reads the counters of the edge and of the replicas."""

from __future__ import annotations

from comentarios_release.watch import latency, requests


def test_requests_that_the_edge_counted() -> None:
    statistics = """# pxname,svname,dreq,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,
public,FRONTEND,20,0,900,0,90,9,0,
api,api1,,0,90,0,7,1,0,
api,BACKEND,1,0,90,0,7,2,0,
crowd,BACKEND,3,0,10,0,0,5,0,
clients,BACKEND,,,,,,,,

"""
    assert requests(statistics) == (114, 7, 4)


def test_latency_of_the_replicas_without_their_probes() -> None:
    rule = 'method="GET",status="200",url_rule="/api/comment/list/<content_id>"'
    probe = 'method="GET",status="200",url_rule="/healthz"'
    one = f"""
flask_http_request_duration_seconds_bucket{{le="0.25",{rule}}} 90
flask_http_request_duration_seconds_bucket{{le="+Inf",{rule}}} 100
flask_http_request_duration_seconds_count{{{rule}}} 100
flask_http_request_duration_seconds_bucket{{le="0.25",{probe}}} 5000
flask_http_request_duration_seconds_bucket{{le="+Inf",{probe}}} 5000
"""
    assert latency([one, one]) == {0.25: 180, float("inf"): 200}
