#!/usr/bin/python3
"""Runs ``comentarios-release``: rolls out what a run has staged, or rolls back, and waits for the end."""

import json
import os

DOCUMENTATION = """
module: release
short_description: Rolls out what a run has staged on a host, or rolls back to an earlier release
description: In check mode it only compares. The host finishes a release by itself, even if this run is interrupted.
options:
  arguments:
    description: The command line of C(comentarios-release), whose C(--help) describes it.
    type: list
    elements: str
    required: true
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
        argument_spec={"arguments": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
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
