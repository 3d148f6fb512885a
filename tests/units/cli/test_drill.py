"""Which replies the drill counts as a stored comment."""

import json
import subprocess
from pathlib import Path

import pytest
import requests

from cli import drill, host
from cli.targets import Target
from common.errors import CommandError


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


def test_host_without_a_live_release_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first release failed, say: there would be none to bring back."""
    one = host.Host("comentarios-1", "192.0.2.1", "admin", "i-1")
    entry = {"number": 1, "tag": "v1"}
    listed = json.dumps({"live": None, "releases": [entry], "by": None})
    monkeypatch.setattr(host, "hosts", lambda _: [one])
    monkeypatch.setattr(host, "run", lambda *_: subprocess.CompletedProcess("", 0, listed, ""))
    monkeypatch.setattr(drill, "_lose", lambda *_: pytest.fail("the host was lost"))
    with pytest.raises(CommandError, match="no release is live on comentarios-1, so nothing was removed"):
        drill.drill(Target("sandbox", tmp_path, {}))
