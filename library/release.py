#!/usr/bin/python3
"""Runs ``comentarios-release``: rolls out what a run has staged, or rolls back, and waits for the end."""

import json
import os

DOCUMENTATION = """
module: release
short_description: Rolls out what a run has staged on a host, or rolls back to an earlier release
description: In check mode it only compares. The host finishes a release by itself, even if this run is interrupted.
options:
  verb:
    description: What to do.
    type: str
    choices: [apply, rollback]
    default: apply
  run:
    description: Name of the run.
    type: str
    required: true
  owner:
    description: Who releases, as shown to others.
    type: str
    required: true
  watch_seconds:
    description: Seconds for which the release is watched.
    type: int
    default: 60
  ready_seconds:
    description: Seconds that its replicas may take to become ready.
    type: int
    default: 60
  image:
    description: Image of the API; empty to keep the live one.
    type: str
    default: ""
  move:
    description: Whether to move the comments if the configuration names another database.
    type: bool
    default: false
  to:
    description: Number or tag of the release to roll back to; empty for the last good one.
    type: str
    default: ""
author: comentarios
"""

RETURN = """
number:
  description: Number of the release.
  type: int
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

PROGRAM = "/usr/local/sbin/comentarios-release"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "verb": {"type": "str", "choices": ["apply", "rollback"], "default": "apply"},
            "run": {"type": "str", "required": True},
            "owner": {"type": "str", "required": True},
            "watch_seconds": {"type": "int", "default": 60},
            "ready_seconds": {"type": "int", "default": 60},
            "image": {"type": "str", "default": ""},
            "move": {"type": "bool", "default": False},
            "to": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    given = module.params
    own = {"apply": "image", "rollback": "to"}[given["verb"]]
    command = [PROGRAM, given["verb"]]
    command += [
        f"--{name.replace('_', '-')}={given[name]}" for name in ("run", "owner", "watch_seconds", "ready_seconds", own)
    ]
    if given["move"]:
        command.append("--move")
    if module.check_mode:
        if given["verb"] == "rollback":
            module.exit_json(changed=True)
        command.append("--check")
    if not os.path.exists(PROGRAM):
        if module.check_mode:
            module.exit_json(changed=True)
        module.fail_json(msg=f"{PROGRAM} is missing on this host: run `make up`")
    status, printed, said = module.run_command(command)
    if status:
        module.fail_json(msg=said.strip() or f"{PROGRAM} ended with {status}")
    module.exit_json(**json.loads(printed))


if __name__ == "__main__":
    main()
