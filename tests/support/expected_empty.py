"""Queries that return nothing in good times, each with its reason: (dashboard, panel, query) → why."""

EXPECTED_EMPTY: dict[tuple[str, str, str], str] = {
    ("api", "Requests by status", "B"): "The API redirects nobody.",
    ("edge", "Requests by class", "B"): "The API redirects nobody; only a domain's plain HTTP is redirected.",
    ("edge", "Certificate", "A"): "Without a domain the edge serves plain HTTP and there is no certificate.",
    ("host", "Certificate", "A"): "The same.",
    ("overview", "Requests", "B"): "The API redirects nobody.",
    ("host", "Data volume growth", "A"): "Not every host has a volume of its own for the data.",
    **{(uid, "annotation Rollbacks", "A"): "Nobody went back." for uid in ("overview", "api", "slo", "host", "edge")},
    **{(uid, "annotation Alerts", "A"): "Nothing is wrong." for uid in ("overview", "api", "slo", "host", "edge")},
}
