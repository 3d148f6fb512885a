"""README.md's commands, unchanged and in order."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from tests.support.site import ROOT, environment

# Begins with → why it is not run here.
NOT_RUN = {
    "git clone": "this is a clone",
    "make up": "the site is up; tests/site/changing/test_reboot.py runs it again",
    "make plan": "tests/site/serving/test_site.py",
    "make release": "tests/site/changing/test_releases.py",
    "make drill": "destroys the host that other tests use: tests/proofs",
    "make tunnel": "lasts until Ctrl-C: tests/units/cli/test_targets.py, test_tunnel_ends_with_ctrl_c here",
    "make down": "destroys the site; the fixture runs it at the end",
    "make check": "runs these very tests' tiers",
    "make test": "runs these very tests",
    "make prove": "takes an hour",
    "make bench": "takes minutes, and says nothing on a machine that works",
    "make capacity": "takes a quarter of an hour, and says nothing on a machine that works",
    "docker compose up": "tests/site/serving/test_development.py, which takes the host's Compose",
    "cd roles/docker && molecule": "tests/site/serving/test_molecule.py",
    "eval": "put before each command of its block",
    "cp settings/example.yml": "would change the settings of whoever runs this",
}
# Run by `make prove`; `make plan` runs both with the same environment, in tests/site/serving/test_site.py.
PROVEN = ("ansible-playbook site.yml --check", "terraform -chdir=terraform plan")


def commands() -> list[tuple[str, str]]:
    """Every command of the fenced sh blocks, and what of its block goes before it."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL):
        before = ""
        for line in block.replace("\\\n", "").splitlines():
            command = line.partition("   #")[0].strip()
            if command.startswith("eval"):
                before = f"{command} && "
            if command:
                found.append((before, command))
    return found


LATER = () if os.environ.get("PROVE") == "yes" else PROVEN
RUN = [one for one in commands() if not one[1].startswith((*NOT_RUN, *LATER))]


def test_every_reason_is_needed():
    """What is not run stands in the README, and there is something left that is run."""
    listed = [command for _, command in commands()]
    missing = [start for start in (*NOT_RUN, *PROVEN) if not any(command.startswith(start) for command in listed)]
    assert missing == [] and len(RUN) >= 7, RUN


@pytest.mark.parametrize(("before", "command"), RUN, ids=[command.split(" -X")[0] for _, command in RUN])
def test_command(up, before, command):
    """Exit status 0; the API's answers are those of the challenge."""
    # Where this sandbox listens, which the README has under "Change these if a port is taken".
    command = command.replace("localhost:8080", f"127.0.0.1:{os.environ['EDGE_PORT']}")
    done = subprocess.run(
        ["bash", "-c", before + command],
        cwd=ROOT,
        env=environment({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    if "comment/new" in command:
        assert '"status":"SUCCESS"' in done.stdout.replace(" ", "")
    if "comment/list" in command:
        assert "first post!" in done.stdout


def test_tunnel_ends_with_ctrl_c(up, eventually):
    """Prometheus answers through it; Ctrl-C is its end and no error, and it takes its ports along."""
    ports = {"PROMETHEUS_PORT": "19190", "ALERTMANAGER_PORT": "19193", "GRAFANA_PORT": "19100"}
    command = [str(ROOT / ".venv" / "bin" / "python"), "-m", "cli", "tunnel"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(ports),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    probe = ["curl", "--silent", "--fail", "http://127.0.0.1:19190/-/ready"]
    try:
        assert eventually(lambda: subprocess.run(probe, capture_output=True, check=False).returncode == 0, 30)
    finally:
        os.killpg(process.pid, 2)
        said = process.communicate(timeout=20)[0]
    assert process.returncode == 0 and "✗" not in said, said
    assert ("Grafana " in said) == ("grafana" in up.ssh("docker ps --format '{{.Names}}'").stdout)
    assert subprocess.run(probe, capture_output=True, check=False).returncode != 0


def test_port_that_would_be_new_is_not_printed(up):
    """The host keeps the port that it was made with: `make status` says where it answers."""
    status = up.make("status", EDGE_PORT="8199")
    assert f"http://127.0.0.1:{os.environ['EDGE_PORT']}/" in status.stdout and "8199" not in status.stdout


def test_verbs_that_ask_the_host_are_quick(up, eventually):
    """A second when warm, on a machine that does nothing else; here the best of three, and room for the other tests."""
    import time

    def seconds() -> float:
        begin = time.monotonic()
        assert up.make("ssh", CMD="true").returncode == 0
        return time.monotonic() - begin

    assert min(seconds() for _ in range(3)) < 2
