"""Moderation by operators: `python -m comentarios.moderate` in the API's container. No route of the API leads here.

Standard input is a JSON object: {"do": "hide", "ids": [7], "who": "alice@laptop", "why": "spam"}. The result is JSON.
"""

import json
import sys
from dataclasses import replace
from typing import Any

from .config import ConfigError, Settings
from .storage import Moderation, ModerationError, StorageError, open_storage

# Nobody waits behind this process, so it may wait longer than a request.
WAIT_SECONDS = 30.0
ACTIONS = ("search", "hide", "unhide", "erase", "audit")


def main() -> int:
    """Exit with 1 and one line on standard error if it failed; nothing was changed then, unless the line says so."""
    try:
        asked: dict[str, Any] = json.load(sys.stdin)
        settings = replace(Settings.from_env(), busy_seconds=WAIT_SECONDS, connect_seconds=WAIT_SECONDS)
        print(json.dumps(_do(settings, asked)))
    except (ConfigError, ModerationError, StorageError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _do(settings: Settings, asked: dict[str, Any]) -> dict[str, Any]:
    action = asked.pop("do")
    if action not in ACTIONS:
        raise ModerationError(f"this release cannot {action}: run `make release`")
    storage = open_storage(settings)
    try:
        storage.ensure_migrated()
        done = getattr(Moderation(storage.engine), action)(**asked)
        return {"done": done, "kept": storage.engine.kept() if action == "erase" else []}
    finally:
        storage.close()


if __name__ == "__main__":
    sys.exit(main())
