"""``python -m cli <verb>``: what the Makefile calls."""

from __future__ import annotations

import importlib
import os
import sys

from botocore.exceptions import BotoCoreError, ClientError

from cli import inputs, terraform
from cli.errors import VerbError
from cli.targets import target
from sandbox import ownership
from sandbox.config import Config
from sandbox.errors import SandboxError
from sandbox.progress import fail

# Module and function of each; imported when it is called, for half of a short verb's time is importing.
VERBS = {
    "alerts": "alerts.alerts",
    "backup": "backup.backup",
    "backups": "backup.backups",
    "bench": "testing.bench",
    "check": "testing.check",
    "clean": "up.clean",
    "ssh-close": "ssh_access.close",
    "dev": "shell.dev",
    "doctor": "doctor.doctor",
    "down": "up.down",
    "drill": "drill.drill",
    "env": "settings.env",
    "image": "image.push_verb",
    "images": "image.images",
    "logs": "logs.logs",
    "ssh-open": "ssh_access.open_",
    "outdated": "supply.outdated",
    "plan": "up.plan",
    "prove": "testing.prove",
    "release": "release.release",
    "releases": "release.releases",
    "restore": "backup.restore",
    "rollback": "release.rollback",
    "sbom": "supply.sbom",
    "silence": "alerts.silence",
    "ssh": "shell.ssh",
    "status": "status.status",
    "test": "testing.test",
    "tunnel": "shell.tunnel",
    "up": "up.up",
}


# What needs no sandbox, or asks whose it is where it begins.
CLAIMS_ITSELF = {"bench", "check", "clean", "dev", "doctor", "down", "outdated", "prove", "sbom", "test", "up"}

# What works with nothing up, or finds out by itself what is.
FROM_NOTHING = CLAIMS_ITSELF | {"env", "status"}


def main() -> int:
    verb = sys.argv[1]
    try:
        inputs.check(os.environ)
        chosen = target()
        # For the children that are given no environment of their own, too.
        os.environ.update({name: value for name, value in chosen.variables.items() if name in {"LC_ALL", "PATH"}})
        if chosen.is_sandbox and verb not in CLAIMS_ITSELF:
            # Somebody else's has the same addresses when this shell lacks the variables of one's own.
            ownership.check(Config())
        if verb not in FROM_NOTHING:
            terraform.ensure_up(chosen)
        module, _, function = VERBS[verb].partition(".")
        result = getattr(importlib.import_module(f"cli.{module}"), function)(chosen)
        return result if isinstance(result, int) else 0
    except (VerbError, SandboxError) as error:
        return fail(str(error))
    except (BotoCoreError, ClientError) as error:
        return fail(f"AWS refuses or does not answer: {str(error).splitlines()[0]}")
    except OSError as error:
        if not error.filename:
            raise
        return fail(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        return fail("interrupted: run the same command again, it carries on")


if __name__ == "__main__":
    sys.exit(main())
