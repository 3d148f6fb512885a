"""What children get: a UTF-8 locale, and paths that a space does not cut in two."""

from __future__ import annotations

import importlib
import io
import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli import doctor, host, shell, ssh_access
from cli.__main__ import FROM_NOTHING, VERBS
from cli.targets import Target, provider_mirror, target
from common import engine
from common.errors import CommandError
from common.paths import ROOT


@pytest.mark.parametrize("given", ["C", "POSIX", "pt_BR.UTF-8", "nowhere.UTF-8", "C.ISO-8859-1"])
def test_locale_that_is_no_use(given: str) -> None:
    """Ansible refuses a locale that is not UTF-8 or not installed (pt_BR over SSH)."""
    assert _locale(given) == "C.UTF-8"


def test_locale_that_is_right_stays() -> None:
    assert _locale("C.UTF-8") == "None"


def _locale(given: str) -> str:
    installed = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout
    if given.startswith("pt_BR") and "pt_BR.utf8" in installed:
        pytest.skip(f"not run: {given} is installed here")
    code = "from cli.targets import target; print(target().variables.get('LC_ALL'))"
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": given, "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def spaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    monkeypatch.setenv("SANDBOX_STATE", str(tmp_path / "my state"))
    return target()


def test_path_with_a_space(spaced: Target) -> None:
    assert shlex.split(spaced.variables["TF_CLI_ARGS_plan"]) == [f"-var-file={spaced.state}/sandbox.tfvars.json"]
    one = host.Host("comentarios-1", "10.0.0.1", "admin", "i-1")
    # SSH itself says what it understood.
    told = subprocess.run(
        [*host.ssh(spaced, one)[:1], "-G", *host.ssh(spaced, one)[1:]], capture_output=True, text=True, check=True
    ).stdout
    options = dict(line.partition(" ")[::2] for line in told.splitlines())
    assert options["userknownhostsfile"] == f"{spaced.state}/known_hosts"
    assert options["controlpath"] == f"{spaced.connections}/i-1"


def test_sockets_have_short_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket's path has 107 characters at most, of which SSH takes 17 for itself."""
    monkeypatch.setenv("SANDBOX_STATE", f"/home/{'x' * 120}/.state")
    assert len(str(target().connections / "i-0123456789abcdef0")) < 90


def test_sockets_of_another_user(spaced: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes the folder first, which has a known name in /tmp, would have SSH talk to sockets of theirs."""
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    with pytest.raises(CommandError, match="is another user's: remove it"):
        host.hosts(spaced)


def test_terraform_configuration_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(tmp_path))
    with pytest.raises(CommandError, match="cannot be read: Is a directory"):
        provider_mirror()
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(tmp_path / "none"))
    provider_mirror()


def test_ports_of_the_tunnel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(
            CommandError, match=f"port {number} of 127.0.0.1 is in use .*: set GRAFANA_PORT to a free port"
        ):
            shell.port("grafana", str(number), 3000)
    with pytest.raises(CommandError, match="GRAFANA_PORT=many is not a port"):
        shell.port("grafana", "many", 3000)


def test_user_outside_the_group_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The engine is there: installing one is no help."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        monkeypatch.setattr(engine, "SOCKET", path)
        monkeypatch.setattr(engine, "answers", lambda: False)
        monkeypatch.setattr(os, "access", lambda *_: False)
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        with pytest.raises(CommandError, match="usermod -aG docker"):
            engine.ensure()


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ('{"terraform_version": "1.9.8"}', "terraform is 1.9"),
        ("Segmentation fault", "`terraform version` fails: no output"),
        ('{"terraform_version": "1.11.4"}', "1.11.4"),
    ],
)
def test_version_of_terraform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: str, line: str) -> None:
    (tmp_path / "terraform").write_text(f"#!/bin/sh\necho '{answer}'\n")
    (tmp_path / "terraform").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert doctor._terraform().found == line


def test_every_verb_is_there() -> None:
    """The Makefile's verbs, the table's, and the functions that it names."""
    printed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    called = set(re.findall(r"^  make ([\w-]+)", printed.stdout, re.MULTILINE)) - {"help"}
    assert called == set(VERBS) and set(VERBS) > FROM_NOTHING
    for place in VERBS.values():
        module, _, name = place.partition(".")
        assert callable(getattr(importlib.import_module(f"cli.{module}"), name))


def test_tunnel_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    one = host.Host("comentarios-1", "192.0.2.1", "admin", "i-1")
    monkeypatch.setattr(host, "hosts", lambda _: [one])
    monkeypatch.setattr(host, "run", lambda *_: subprocess.CompletedProcess("", 0, "api\nedge\n", ""))
    with pytest.raises(
        CommandError, match="comentarios-1 runs none of grafana, prometheus, alertmanager: see `make st"
    ):
        shell.tunnel(target(), "", "", "", "")


@pytest.mark.parametrize(
    ("body", "address"), [(b" 203.0.113.7\n", "203.0.113.7"), (b"<html>\n<p>Log in", ""), (b"\xff", "")]
)
def test_own_address(monkeypatch: pytest.MonkeyPatch, body: bytes, address: str) -> None:
    """A hotel's network answers with a page of its own, which is no address and not ours to print."""
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: io.BytesIO(body))
    if address:
        assert ssh_access.own_address("") == address
        return
    with pytest.raises(CommandError, match="does not return this machine's address .*: give it as ADDRESS=") as refused:
        ssh_access.own_address("")
    assert "\n" not in str(refused.value)


def test_answer_that_is_not_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's banner of another time, say, before the error."""
    monkeypatch.setattr(host, "ssh", lambda *_: ["printf", "caf\\351 %s"])
    one = host.Host("comentarios-1", "192.0.2.1", "admin", "i-1")
    assert host.run(target(), one, "true").stdout == "caf\ufffd "


def test_name_of_a_sandbox_that_docker_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Docker does, whose error would be taken for one of the network."""
    monkeypatch.setenv("SANDBOX_NAME", "my sandbox")
    with pytest.raises(CommandError, match="SANDBOX_NAME=my sandbox is not a name: give letters, digits"):
        target()


@pytest.mark.parametrize(
    ("address", "found"), [("pypi", "unknown url type"), ("http://127.0.0.1:1/ x", "can't contain")]
)
def test_registry_whose_address_is_none(monkeypatch: pytest.MonkeyPatch, address: str, found: str) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", address)
    assert found in doctor._registry("PyPI").found
