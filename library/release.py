#!/usr/bin/python3
"""Runs ``comentarios-release``: rolls out what a run has staged, or rolls back, and waits for the end.

In check mode it only compares. The host finishes a release by itself, even if this run is interrupted. It returns what
the program prints: the number of the release, for example.
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule

PROGRAM = "/usr/local/sbin/comentarios-release"
ARGUMENTS = {
    "verb": {"type": "str", "choices": ["apply", "rollback"], "default": "apply"},
    "run": {"type": "str", "required": True},
    # Who releases, as shown to others.
    "owner": {"type": "str", "required": True},
    "watch_seconds": {"type": "int", "required": True},
    "ready_seconds": {"type": "int", "required": True},
    # The API's; empty to keep the live one.
    "image": {"type": "str", "default": ""},
    # Whether to move the comments if the configuration names another database.
    "move": {"type": "bool", "default": False},
    # Number or tag of the release to roll back to; empty for the last good one.
    "to": {"type": "str", "default": ""},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
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
