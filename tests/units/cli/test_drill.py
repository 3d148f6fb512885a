"""Which replies the drill counts as a stored comment."""

import pytest
import requests

from cli import drill


@pytest.mark.parametrize(
    ("status", "body", "stored"),
    [
        (200, b'{"status":"SUCCESS"}', True),
        (200, b"", False),
        (200, b"[]", False),
        (200, b'{"status":"UNAVAILABLE"}', False),
        (503, b'{"status":"SUCCESS"}', False),
    ],
)
def test_only_the_apis_own_word_counts(status: int, body: bytes, stored: bool) -> None:
    reply = requests.Response()
    reply.status_code, reply._content = status, body
    assert drill._acknowledged(reply) is stored
