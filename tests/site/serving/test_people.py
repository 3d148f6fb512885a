"""Who may log in to a host: two operators, and one who has left. The list is never empty."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import host, terraform
from tests.support.site import Site

PARAMETER = "/comentarios/people/bob/key"


def _key(folder: Path) -> Path:
    file = folder / "bob"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bob", "-f", str(file)], check=True)
    return file


def _comes_in(up: Site, key: Path) -> bool:
    options = ("-i", str(key), "-o", "IdentitiesOnly=yes", "-o", "ControlPath=none", "-o", "BatchMode=yes")
    command = [part for part in host.ssh(up.target, up.host, "true", *options)]
    # The sandbox's own key would come in, too.
    at = command.index(up.target.variables["ANSIBLE_PRIVATE_KEY_FILE"])
    del command[at - 1 : at + 1]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def bob(up: Site, tmp_path: Path) -> Iterator[Path]:
    """A second operator's key, whose entry is in SSM."""
    key = _key(tmp_path)
    ssm = terraform.client(up.target, "ssm")
    ssm.put_parameter(Name=PARAMETER, Value=key.with_suffix(".pub").read_text(), Type="String", Overwrite=True)
    yield key
    ssm.delete_parameters(Names=[PARAMETER])


def test_a_second_operator_is_let_in_and_out(up: Site, bob: Path) -> None:
    assert not _comes_in(up, bob)
    done = up.play("--tags", "people")
    assert done.returncode == 0, done.stdout[-3000:]
    assert _comes_in(up, bob) and up.ssh("true").returncode == 0
    terraform.client(up.target, "ssm").delete_parameters(Names=[PARAMETER])
    assert up.play("--tags", "people").returncode == 0
    assert not _comes_in(up, bob) and up.ssh("true").returncode == 0
    again = up.play("--tags", "people")
    assert "changed=0" in again.stdout, again.stdout[-3000:]


def test_a_list_without_the_key_in_use_is_refused(up: Site, bob: Path) -> None:
    before = up.ssh("cat .ssh/authorized_keys").stdout
    done = up.play("--tags", "people", base_authorized_keys=[bob.with_suffix(".pub").read_text().strip()])
    assert done.returncode != 0 and "lacks the key that you are using" in done.stdout, done.stdout[-3000:]
    host.end_connections(up.target)
    assert up.ssh("cat .ssh/authorized_keys").stdout == before
