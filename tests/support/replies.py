"""Whether a reply is a success, by its body: the status alone is not enough.

A proxy may answer 200 with an empty body for a request that nobody has seen.
"""

from __future__ import annotations

import json

import requests

OTHER_BODY = "2xx with another body"


def fault(method: str, status: int, body: bytes) -> str:
    """What is wrong with the API's reply to a GET of a list or to a POST of a comment; nothing: an empty string."""
    if not 200 <= status < 300:
        return f"status {status}"
    try:
        said = json.loads(body)
    except ValueError:
        return OTHER_BODY
    good = isinstance(said, list) if method == "GET" else isinstance(said, dict) and said.get("status") == "SUCCESS"
    return "" if good else OTHER_BODY


def post(edge: str, thread: str, comment: str, timeout: float = 10) -> None:
    """Posts a comment that must be acknowledged."""
    body = {"email": "alice@example.com", "comment": comment, "content_id": thread}
    reply = requests.post(f"{edge}/api/comment/new", json=body, timeout=timeout)
    wrong = fault("POST", reply.status_code, reply.content)
    assert not wrong, f"{wrong}: {reply.text[:200]}"


def comments(edge: str, thread: str, timeout: float = 10) -> list[str]:
    """The texts of a thread's comments, page by page; it must be there."""
    texts: list[str] = []
    path: str | None = f"/api/comment/list/{thread}"
    while path:
        reply = requests.get(f"{edge}{path}", timeout=timeout)
        wrong = fault("GET", reply.status_code, reply.content)
        assert not wrong, f"{wrong}: {reply.text[:200]}"
        texts += [one["comment"] for one in reply.json()]
        path = reply.links.get("next", {}).get("url")
    return texts
