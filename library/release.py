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
    # The program's command line, which its `--help` describes.
    "arguments": {"type": "list", "elements": "str", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if not os.path.exists(PROGRAM):
        if module.check_mode:
            module.exit_json(changed=True)
        module.fail_json(msg=f"{PROGRAM} is missing on this host: run `make up`")
    check = ["--check"] if module.check_mode else []
    status, printed, said = module.run_command([PROGRAM, *module.params["arguments"], *check])
    if status:
        module.fail_json(msg=said.strip() or f"{PROGRAM} ended with {status}")
    module.exit_json(**json.loads(printed))


if __name__ == "__main__":
    main()
