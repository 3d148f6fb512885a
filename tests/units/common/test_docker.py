"""The error of a failed docker command."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.docker import docker, push
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


def test_each_push_has_a_login_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of two that ends would log the other one out."""
    program = Docker(tmp_path / "bin", monkeypatch)
    pushed = '[{"RepoDigests": ["127.0.0.1:1/api@sha256:1"]}]'
    program.answers(image_inspect=f"echo '{pushed}'", tag="", rmi="", **{"--config": ""})
    for _ in range(2):
        assert push("api:v1", "127.0.0.1:1/api:v1", "AWS", "secret") == "sha256:1"
    folders = [line.split()[1] for line in program.calls() if " login " in line]
    assert len(set(folders)) == 2 and not any(Path(folder).exists() for folder in folders)
    assert program.calls()[-1] == "rmi 127.0.0.1:1/api:v1"
