"""The secrets of one sandbox, random and in its state folder, readable by its owner alone."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import string
from dataclasses import asdict, dataclass
from pathlib import Path

from common import files

ALPHABET = string.ascii_uppercase + "234567"


@dataclass(frozen=True)
class Keys:
    """What lets somebody in.

    Attributes:
        access, secret: the AWS access key, which may do everything.
        registry: the password that ECR's API hands out for its store.
        metadata: what each host's proof to the metadata service is made from.
    """

    access: str
    secret: str
    registry: str
    metadata: str

    def proof(self, instance: str) -> str:
        """What a host shows the metadata service; a container on it, or beside it, does not have it."""
        return hmac.new(self.metadata.encode(), instance.encode(), hashlib.sha256).hexdigest()


# Before there is a sandbox: no key of the user's own must be taken for it.
NONE = Keys("the-sandbox-is-not-up", "the-sandbox-is-not-up", "", "")


def load(state: Path) -> Keys:
    """The keys of a state folder; ``NONE`` when it has none."""
    path = _path(state)
    return Keys(**json.loads(path.read_text())) if path.exists() else NONE


def make(state: Path) -> None:
    """Makes the keys of a state folder unless it has them."""
    if not _path(state).exists():
        access = "AKIA" + "".join(secrets.choice(ALPHABET) for _ in range(16))
        made = Keys(access, secrets.token_urlsafe(30), secrets.token_urlsafe(30), secrets.token_urlsafe(30))
        files.write(_path(state), json.dumps(asdict(made)))


def _path(state: Path) -> Path:
    return state / "keys.json"
