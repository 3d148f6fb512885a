"""No input of a verb becomes an option, a template, or code of shell or make."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from cli import __main__ as main
from cli import host, inputs, release
from cli.targets import Target
from common.errors import CommandError
from common.paths import ROOT

GOOD = {
    "V": ["1", "0"],
    "TARGET": ["sandbox", "aws"],
    "ENV": ["staging", "qa"],
    "PROJECT": ["comentarios", "my-blog2"],
    "TAG": ["0123456789ab", "0123456789ab-cafe0123", "v1.2_3"],
    "TO": ["7", "0123456789ab-cafe0123", "sqlite", "/staging-comentarios/database_url"],
    "FROM": [
        "20260101T000000Z-beef.sqlite.gz",
        "20260101T000000Z-beef.pgdump.gz@3sL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY-M_x",
    ],
    "DELETE_DATA": ["yes", "no"],
    "CMD": ["echo $HOME", "docker compose ls; id", "-oProxyCommand=x", "printf '%s\n' {{ 1 }} \"é\"", "a\nb"],
    "HOST": ["comentarios-1", "ip-10-0-0-1.ec2.internal"],
    "SERVICE": ["api", "node-exporter"],
    "LEVEL": ["debug", "warning", "error"],
    "REQUEST": ["checkout-42", "a.b_C"],
    "SINCE": ["90s", "10m", "2h", "1d", "2026-01-31T12:00", "2026-01-31T12:00:00Z"],
    "UNTIL": ["10m", "2026-01-31T12:00:00.123Z"],
    "GREP": ["database is locked", 'it\'s $(odd) "x" `y` -e'],
    "FOLLOW": ["yes", "no"],
    "EDGE_PORT": ["8080"],
    "GRAFANA_PORT": ["3001"],
    "PROMETHEUS_PORT": ["9191"],
    "ALERTMANAGER_PORT": ["9193"],
    "GRAFANA_IMAGE": ["grafana/grafana:12.3.1", "localhost:5000/grafana@sha256:0123"],
    "WATCH": ["0", "30"],
    "READY": ["120"],
    "TIERS": ["check", "parts site"],
    "ADDRESS": ["203.0.113.7"],
    "ALERT": ["DiskFull"],
    "FOR": ["0", "30m", "2h"],
    "THREAD": ["1", "/posts/2026?x=1 ñ", "a\nb"],
    "WHY": ["spam", 'it\'s $(odd) "x" `y` {{ 1 }}'],
    "EMAIL": ["alice@example.com", "Alice <alice@example.com>"],
    "ID": ["57", "57 58 999999999999999999"],
    "REBUILD": ["yes", "no"],
}
# Each is tried on every input but these, which are any command and any text.
FREE = {"CMD", "GREP", "THREAD", "WHY", "EMAIL"}
BAD = [
    "-oProxyCommand=touch /tmp/x",
    "--help",
    "{{ lookup('pipe', 'id') }}",
    "{% raw %}",
    "api; id",
    "$(id)",
    "`id`",
    "a b",
    "a\nb",
    "a\n",
    "../x",
    "/etc/passwd",
    "a'b",
    'a"b',
    "٣",
    "\x1b[2J",
]


def test_each_input_is_tried() -> None:
    """The Makefile's list and the table are the same, and so is this file's."""
    line = re.search(r"^INPUTS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert line and line[1].split() == list(inputs.INPUTS) == list(GOOD)


def test_every_verb_of_the_help_has_the_recipe() -> None:
    text = (ROOT / "Makefile").read_text()
    listed = re.search(r"^VERBS := (.+)$", text, re.MULTILINE)
    assert listed and sorted(listed[1].split()) == sorted(
        re.findall(r"^([a-z-]+): venv(?:test)? ## ", text, re.MULTILINE)
    )


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_good(name: str, value: str) -> None:
    inputs.check({name: value, "UNKNOWN": "{{ }}"})


@pytest.mark.parametrize("name", list(GOOD))
def test_empty_is_not_given(name: str) -> None:
    inputs.check({name: ""})


# A parameter's name has the form of a path.
@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in GOOD if name not in FREE for value in BAD if (name, value) != ("TO", "/etc/passwd")],
)
def test_bad(name: str, value: str) -> None:
    with pytest.raises(CommandError) as raised:
        inputs.check({name: value})
    text = str(raised.value)
    assert text.startswith(f"{name}=") and inputs.INPUTS[name][1] in text and text.isprintable()


@pytest.mark.parametrize("verb", list(main.VERBS))
def test_every_verb_looks_at_them_first(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SERVICE", "api; id")
    monkeypatch.setattr("sys.argv", ["cli", verb])
    monkeypatch.setitem(main.VERBS, verb, "nowhere.that_could_be_run")
    assert main.main() == 1
    assert "SERVICE=api; id is not a service" in "".join(capsys.readouterr())


@pytest.mark.parametrize("where", ["command line", "environment"])
@pytest.mark.parametrize("value", [*GOOD["CMD"], *BAD, "$(shell touch made)", "$$ ${HOME} #x", "50% \\ '\" | & > x"])
def test_make_passes_them_on_as_they_are(where: str, value: str, tmp_path: Path) -> None:
    """By the Makefile's own lines, with a recipe that prints one."""
    head = (ROOT / "Makefile").read_text().partition(".DEFAULT_GOAL")[0]
    (tmp_path / "Makefile").write_text(f"{head}show:\n\t@printenv CMD\n")
    given = {"environment": {"CMD": value}, "command line": {}}[where]
    arguments = [f"CMD={value}"] if where == "command line" else []
    done = subprocess.run(
        ["make", "--no-print-directory", "show", *arguments],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", **given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{value}\n"
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(("arguments", "shown"), [([], ""), (["EMAIL=b@example.com"], "b@example.com")])
def test_address_of_the_shells_user_is_no_input(arguments: list[str], shown: str, tmp_path: Path) -> None:
    """`make erase WHY=…` would erase the comments of whoever runs it."""
    head = (ROOT / "Makefile").read_text().partition(".DEFAULT_GOAL")[0]
    (tmp_path / "Makefile").write_text(f"{head}show:\n\t@printenv EMAIL\n")
    command = ["make", "--no-print-directory", "show", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "EMAIL": "a@example.com"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == f"{shown}\n"


class TestSsh:
    """OpenSSH's own reading of the command line: `-G` prints what it would do."""

    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        return Target("sandbox", tmp_path, {})

    def test_command_is_no_option(self, target: Target, tmp_path: Path) -> None:
        one = host.Host("one", "192.0.2.1", "admin", "i-1")
        hostile = f"-oProxyCommand=touch {tmp_path}/made"
        command = host.ssh(target, one, hostile, "-t")
        assert command[-3:] == ["--", "admin@192.0.2.1", hostile]
        done = subprocess.run([command[0], "-G", *command[1:]], capture_output=True, text=True, check=True)
        assert "hostname 192.0.2.1\n" in done.stdout and "proxycommand" not in done.stdout


def test_ansibles_variables_are_no_templates() -> None:
    """Ansible's loader gives `!unsafe` texts as such; a real run is in tests/parts/cli."""
    unsafe: list[str] = []

    class Loader(yaml.SafeLoader):
        pass

    def text(_: Loader, node: yaml.ScalarNode) -> str:
        unsafe.append(node.value)
        return str(node.value)

    Loader.add_constructor("!unsafe", text)
    given = {"owner": "{{ lookup('pipe', 'id') }} é \"'\n#", "seconds": 7, "to": ""}
    assert yaml.load(release.extra_variables(given), Loader) == given
    assert unsafe == [given["owner"]]


# Read by the outermost layer itself, for every verb.
FOR_EVERY_VERB = {"V", "TARGET", "ENV", "PROJECT", "GRAFANA_IMAGE"}


def test_every_input_is_taken_by_a_verb() -> None:
    everything = dict.fromkeys(inputs.INPUTS, "given")
    taken = set()
    for named in main.VERBS.values():
        module, _, function = named.partition(".")
        given = main.arguments(getattr(importlib.import_module(f"cli.{module}"), function), everything)
        assert set(given.values()) <= {"given"}, named
        taken |= {name.rstrip("_").upper() for name in given}
    assert taken == set(inputs.INPUTS) - FOR_EVERY_VERB
