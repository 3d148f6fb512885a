"""schemathesis generates requests from the OpenAPI description, with all its checks."""

from pathlib import Path

import servers
from bodies import run_schemathesis


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    with servers.api(f"sqlite:///{tmp_path}/comentarios.db") as server:
        outcome = run_schemathesis(server.url, examples=30)
    assert outcome.failed == 0, outcome.text
    assert outcome.passed > 200
