"""The imports of the short verbs, which take most of their second."""

from __future__ import annotations

import subprocess
import sys

from common.paths import ROOT

# Half a second of imports together, none of which a question to the host needs.
LARGE = ("ansible", "boto3", "cryptography", "bcrypt", "moto", "requests", "rich", "s3transfer", "werkzeug")
SHORT = ("alerts", "backup", "image", "release", "shell", "status")


def test_short_verbs_import_nothing_large() -> None:
    code = (
        f"import sys, cli.__main__, {', '.join(f'cli.{name}' for name in SHORT)}\n"
        "from cli import host, terraform\n"
        "from cli.targets import target\n"
        "terraform.client(target(), 'ec2')\n"
        f"print(*sorted(set({LARGE!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
