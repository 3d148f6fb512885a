"""Queries that return nothing in good times, each with its reason: (dashboard, panel, query) → why."""

RIGHTLY_EMPTY: dict[tuple[str, str, str], str] = {
    ("slo", "Budget alerts", "A"): "No budget is burning.",
    ("edge", "Requests by class", "B"): "The API redirects nobody; only a domain's plain HTTP is redirected.",
    ("edge", "Alerts firing", "A"): "Nothing is wrong.",
    ("edge", "Certificate", "A"): "Without a domain the edge serves plain HTTP and there is no certificate.",
}
