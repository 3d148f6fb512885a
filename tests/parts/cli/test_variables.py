"""Ansible treats the verbs' inputs as text, never as templates."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from cli.release import extra_variables
from common.paths import ROOT

PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        content: "{{ {'owner': owner, 'seconds': seconds + 1, 'to': to} | to_json }}"
        dest: "{{ dest }}"
        mode: "0600"
"""


def test_text_is_not_evaluated(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    hostile = f"{{{{ lookup('pipe', 'touch {tmp_path}/made') }}}} \"'"
    variables = {"owner": hostile, "seconds": 7, "to": "", "dest": str(tmp_path / "seen")}
    command = [ROOT / ".venv/bin/ansible-playbook", "play.yml", "--extra-vars", extra_variables(variables)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "seen").read_text()) == {"owner": hostile, "seconds": 8, "to": ""}
    assert not (tmp_path / "made").exists()
