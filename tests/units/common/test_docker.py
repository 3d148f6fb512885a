"""What is said of a docker command that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.docker import docker
from common.errors import CommandError
from tests.support.docker import Docker

NOT_FOUND = 'OCI runtime exec failed: exec failed: exec: "sandbox-attach": executable file not found in $PATH'


@pytest.mark.parametrize(
    ("script", "line"),
    [
        # Where engine 26 says why a command did not even start.
        (f"echo '{NOT_FOUND}'; exit 126", NOT_FOUND),
        ("echo 'what it did so far'; echo 'losetup: no free device' >&2; exit 1", "losetup: no free device"),
        ("echo 'what it did so far'; exit 1", "exit status 1"),
        ("printf 'Error: network in use\\nexit status 1\\n' >&2; exit 1", "Error: network in use"),
        ("printf 'Error: no\\n\\nRun '\"'\"'docker exec --help'\"'\"' for more\\n' >&2; exit 1", "Error: no"),
        ("printf 'Error: in use\\nError: failed to start containers: x\\n' >&2; exit 1", "Error: in use"),
    ],
)
def test_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, line: str) -> None:
    Docker(tmp_path / "bin", monkeypatch).answers(exec=script)
    with pytest.raises(CommandError) as refused:
        docker("exec", "host", "sandbox-attach")
    assert str(refused.value) == f"docker exec host: {line}"
