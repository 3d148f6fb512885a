"""``python -m cli <verb>``: what the Makefile calls."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from cli import inputs, terraform
from cli.targets import target
from common import ownership
from common.errors import CommandError
from common.progress import fail

# The verbs of each module, whose functions have their names. A module is imported when its verb runs: imports take half
# of a short verb's time.
MODULES = {
    "alerts": "alerts silence",
    "backup": "backup backups restore",
    "comments": "audit comments erase hide unhide",
    "database": "move-database",
    "dependencies": "outdated sbom",
    "doctor": "doctor",
    "drill": "drill",
    "image": "image images",
    "logs": "logs",
    "release": "release releases rollback",
    "settings": "env",
    "shell": "dev ssh tunnel",
    "ssh_access": "ssh-close ssh-open",
    "status": "status",
    "testing": "bench capacity check prove test",
    "up": "clean down plan up",
}
VERBS = {verb: f"{module}.{verb.replace('-', '_')}" for module, verbs in MODULES.items() for verb in verbs.split()}

# These need no sandbox, or check its owner themselves.
NO_OWNER_CHECK = {
    "bench", "capacity", "check", "clean", "dev", "doctor", "down", "outdated", "prove", "sbom", "test", "up",
}  # fmt: skip

# These also work if nothing is up.
WORKS_WHEN_DOWN = NO_OWNER_CHECK | {"env", "status"}


def arguments(verb: Callable[..., object], environment: Mapping[str, str]) -> dict[str, str]:
    """The inputs that a verb takes after the target, empty when not given: parameter `tag` is TAG, `for_` is FOR."""
    taken = list(inspect.signature(verb).parameters.values())[1:]
    return {
        one.name: environment.get(one.name.rstrip("_").upper(), "") for one in taken if one.kind != one.KEYWORD_ONLY
    }


def main() -> int:
    verb = sys.argv[1]
    try:
        inputs.check(os.environ)
        chosen = target()
        # Child processes that get no environment of their own inherit these.
        os.environ.update({name: value for name, value in chosen.variables.items() if name in {"LC_ALL", "PATH"}})
        with ThreadPoolExecutor() as pool:
            # In a shell without the sandbox's variables, the addresses may be another sandbox's. The engine is asked in
            # parallel with the APIs.
            owned = chosen.sandbox and verb not in NO_OWNER_CHECK and pool.submit(ownership.check, chosen.sandbox)
            try:
                if verb not in WORKS_WHEN_DOWN:
                    terraform.ensure_up(chosen)
                module, _, function = VERBS[verb].partition(".")
                called = getattr(importlib.import_module(f"cli.{module}"), function)
            finally:
                # Its error comes first.
                if owned:
                    owned.result()
        result = called(chosen, **arguments(called, os.environ))
        return result if isinstance(result, int) else 0
    except CommandError as error:
        return fail(str(error))
    except terraform.AWS_ERRORS as error:
        return fail(f"AWS refuses the request or does not answer: {str(error).splitlines()[0]}")
    except OSError as error:
        # A full disk has no name, and a host that does not answer no number.
        return fail(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
    except KeyboardInterrupt:
        return fail("interrupted: run the same command again to continue")


if __name__ == "__main__":
    sys.exit(main())
