"""The random secrets of a sandbox, in its state folder, readable by the owner only."""

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
    """The secrets.

    Attributes:
        access, secret: the AWS access key, which may do everything.
        registry: the password of ECR's store, as returned by ECR's API.
        metadata: the key of each host's proof to the metadata service.
    """

    access: str
    secret: str
    registry: str
    metadata: str

    def proof(self, instance: str) -> str:
        """A host's proof to the metadata service. Containers on the host do not have it."""
        return hmac.new(self.metadata.encode(), instance.encode(), hashlib.sha256).hexdigest()


# Used before the sandbox exists, so that no client falls back to the user's own keys.
NONE = Keys("the-sandbox-is-not-up", "the-sandbox-is-not-up", "", "")


def load(state: Path) -> Keys:
    """The keys of a state folder, or ``NONE``."""
    path = _path(state)
    return Keys(**json.loads(path.read_text())) if path.exists() else NONE


def make(state: Path) -> None:
    """Creates the keys of a state folder unless they exist."""
    if not _path(state).exists():
        access = "AKIA" + "".join(secrets.choice(ALPHABET) for _ in range(16))
        made = Keys(access, secrets.token_urlsafe(30), secrets.token_urlsafe(30), secrets.token_urlsafe(30))
        files.write(_path(state), json.dumps(asdict(made)))


def _path(state: Path) -> Path:
    return state / "keys.json"
