"""The lines of a step, and the line that explains a failure."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from common import progress

ROOT = Path(__file__).resolve().parents[3]
CLASSIC = """Step 2/9 : RUN apt-get update && apt-get install -y nothing-of-this-name
 ---> Running in 1f0e
Reading package lists...
E: Unable to locate package nothing-of-this-name
Removing intermediate container 1f0e
The command '/bin/sh -c apt-get update && apt-get install -y nothing-of-this-name' returned a non-zero code: 100
docker build failed
"""
BUILDKIT = """#6 [2/3] RUN apt-get install -y nothing-of-this-name
#6 0.731 E: Unable to locate package nothing-of-this-name
#6 ERROR: process "/bin/sh -c apt-get install -y nothing-of-this-name" did not complete successfully: exit code: 100
------
 > [2/3] RUN apt-get install -y nothing-of-this-name:
------
Dockerfile:2
ERROR: failed to solve: process "/bin/sh -c apt-get install -y nothing-of-this-name" did not complete successfully
"""
ANSIBLE = """TASK [base : Install packages] *******
ok: [comentarios-1]

TASK [stack : Check the answer] *******
fatal: [comentarios-1]: FAILED! =>
    changed: false
    msg: stack_api_replicas must be a whole number

PLAY RECAP *******
comentarios-1 : ok=4 changed=0 unreachable=0 failed=1 skipped=0
"""
WRAPPED = "msg: 'stack_api_replicas must\n        be a whole number'"
TERRAFORM = """aws_vpc.this: Creating...
╷
│ Error: creating EC2 VPC: operation error EC2: CreateVpc, VpcLimitExceeded
│
│   with aws_vpc.this,
│   on network.tf line 12, in resource "aws_vpc" "this":
│   12: resource "aws_vpc" "this" {
│
╵
"""


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (
            CLASSIC,
            "RUN apt-get update && apt-get install -y nothing-of-this-name: "
            "E: Unable to locate package nothing-of-this-name",
        ),
        (BUILDKIT, "RUN apt-get install -y nothing-of-this-name: E: Unable to locate package nothing-of-this-name"),
        (ANSIBLE, "comentarios-1: task `stack : Check the answer`: stack_api_replicas must be a whole number"),
        (ANSIBLE.replace("msg: stack", "msg: |-\n        stack"), None),
        # YAML wraps what is long: its end is what to do.
        (ANSIBLE.replace("msg: stack_api_replicas must be a whole number", WRAPPED), None),
        (
            'TASK [a] ***\nfatal: [h]: UNREACHABLE! => {"changed": false, "msg": "no route", "unreachable": true}\n',
            "h: task `a`: no route",
        ),
        (
            TERRAFORM,
            "creating EC2 VPC: operation error EC2: CreateVpc, VpcLimitExceeded "
            '(on network.tf line 12, in resource "aws_vpc" "this")',
        ),
        ("mmdebstrap: error: no network\n\n", "mmdebstrap: error: no network"),
        ("", "no output"),
    ],
)
def test_reason(tmp_path: Path, output: str, line: str) -> None:
    """The failing line and its cause, of each tool; never only the last line."""
    (tmp_path / "log").write_text(output)
    line = line or "comentarios-1: task `stack : Check the answer`: stack_api_replicas must be a whole number"
    assert progress.reason(tmp_path / "log") == line


def test_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.step("terraform: the host") as shown:
        shown.detail, shown.result = "creating aws_vpc.this", "1 added"
        progress.say("  a line between")
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "  a line between"
    assert re.fullmatch(r"✓ terraform: the host: 1 added \(\d+\.\d s\)", out[1]) and len(out) == 2


def test_step_that_takes_long_says_that_it_began(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr(progress, "REMIND_SECONDS", 0.02)
    said: list[str] = []
    monkeypatch.setattr(progress, "say", said.append)
    with progress.step("slow") as shown:
        shown.detail = "still at it"
        while len(said) < 2:
            pass
    assert said[0] == "▸ slow" and said[1].startswith("▸ slow: still at it (")


def test_step_that_fails_has_no_tick(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), progress.step("something"):
        raise ValueError("no")
    assert capsys.readouterr().out == ""


def test_output_goes_to_the_log_and_with_v_to_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "logs" / "x.log"
    seen: list[str] = []
    assert progress.logged(["sh", "-c", "echo out; echo err >&2; exit 3"], log, each=seen.append) == 3
    assert log.read_text() == "out\nerr\n" and seen == ["out", "err"] and capsys.readouterr().out == ""
    monkeypatch.setenv("V", "1")
    progress.logged(["echo", "out"], log)
    assert capsys.readouterr().out == "out\n" and log.read_text() == "out\n"


def test_failure_shows_the_last_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").write_text(CLASSIC)
    message = progress.failure("building x failed", tmp_path / "log")
    assert "  │ E: Unable to locate package nothing-of-this-name" in capsys.readouterr().out
    assert message.endswith(f"E: Unable to locate package nothing-of-this-name (whole log: {tmp_path}/log)")


def test_reader_that_has_gone() -> None:
    """`make releases | head`: no traceback, and the work goes on."""
    code = "from common.progress import say\nfor n in range(5000): say('x' * 100)\nimport sys; sys.exit(7)"
    command = f'{sys.executable} -c "{code}"; echo status=$? >&2'
    done = subprocess.run(
        ["bash", "-c", f"({command}) | head -1"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stderr == "status=7\n"


def test_interrupted_child_ends_by_itself(tmp_path: Path) -> None:
    """Ctrl-C reaches the child through the terminal; it gets the time to end, and no second signal."""
    child = "trap 'echo ended by itself; exit 0' INT; echo ready; while :; do sleep 0.01; done"
    code = (
        "import os, signal, sys; from pathlib import Path; from common.progress import logged\n"
        "ready = lambda line: os.killpg(0, signal.SIGINT) if line == 'ready' else None\n"
        f"try: logged(['bash', '-c', \"{child}\"], Path('{tmp_path}/log'), each=ready)\n"
        "except KeyboardInterrupt: sys.exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, start_new_session=True, check=False, timeout=20)
    assert done.returncode == 9


def test_child_that_does_not_end_is_ended() -> None:
    process = subprocess.Popen(["sh", "-c", "trap '' INT; exec sleep 60"], text=True)
    progress.end(process, 0.01)
    assert process.returncode == -signal.SIGTERM


def test_terminal_has_a_moving_line() -> None:
    """On a terminal: a line with a clock while the step runs, and one line that stays."""
    code = (
        "import time; from common.progress import step\n"
        "with step('building') as shown:\n    shown.detail = 'layer 3'\n    time.sleep(0.3)"
    )
    main, other = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    environment.pop("V", None)
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=other, stderr=other, env=environment)
    os.close(other)
    text = b""
    while True:
        try:
            piece = os.read(main, 4096)
        except OSError:
            break
        if not piece:
            break
        text += piece
    assert process.wait() == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.decode())
    assert re.search(r". building \d:\d\d:\d\d layer 3", plain), plain
    assert re.search(r"✓ building \(\d+\.\d s\)\r\n$", plain), plain
