"""Creates the virtual environment ``.venv`` from hash-locked requirements: ``python3 -m cli.venv run|test``.

It uses the standard library only, since it runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from common import apt
from common.errors import CommandError
from common.paths import ROOT
from common.progress import fail

VENV = ROOT / ".venv"
LOCKS = ROOT / "requirements"
OLDEST = (3, 11)


def main(kind: str) -> int:
    """Installs ``requirements/<kind>.txt`` unless it is installed already; returns the exit status."""
    if sys.version_info < OLDEST:
        found, needed = (".".join(map(str, version[:2])) for version in (sys.version_info, OLDEST))
        return fail(f"python3 is {found}, Ansible 12 needs {needed} or later: install it, then `make PYTHON=…`")
    lock, stamp = LOCKS / f"{kind}.txt", VENV / f".{kind}"
    wanted = hashlib.sha256(lock.read_bytes() + (LOCKS / "uv.txt").read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted and (VENV / "bin" / "python").exists():
        return 0
    begin = time.monotonic()
    print(f"▸ virtual environment: requirements/{kind}.txt", file=sys.stderr, flush=True)
    if not (VENV / "bin" / "uv").exists():
        if not make_empty():
            return 1
        pip: list[str | Path] = [VENV / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        if subprocess.run([*pip, "install", "--require-hashes", "-r", LOCKS / "uv.txt"], check=False).returncode:
            return fail(
                "pip cannot install requirements/uv.txt (see above): check that the package index can be reached"
            )
    python = VENV / "bin" / "python"
    uv: list[str | Path] = [VENV / "bin" / "uv", "pip", "install", "--quiet", "--require-hashes", "--python", python]
    if subprocess.run([*uv, "-r", lock], env=environment(), check=False).returncode:
        return fail(f"requirements/{kind}.txt cannot be installed (see above): run the same command again to continue")
    stamp.write_text(wanted)
    print(
        f"✓ virtual environment: requirements/{kind}.txt ({time.monotonic() - begin:.1f} s)",
        file=sys.stderr,
        flush=True,
    )
    return 0


def make_empty() -> bool:
    """Creates the empty environment; as root, first installs Debian's venv package if it is missing."""
    shutil.rmtree(VENV, ignore_errors=True)
    command: list[str | Path] = [sys.executable, "-m", "venv", VENV]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and apt.may_install():
        with contextlib.suppress(CommandError):
            apt.install("python3-venv")
        shutil.rmtree(VENV, ignore_errors=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        fail("python3 cannot create a virtual environment: install python3-venv as root")
    return not done.returncode


def environment() -> dict[str, str]:
    """uv's environment, with pip's certificates and package index."""
    own = {**os.environ, "UV_NATIVE_TLS": "true"}
    if own.get("PIP_CERT"):
        own.setdefault("SSL_CERT_FILE", own["PIP_CERT"])
    index = subprocess.run(
        [VENV / "bin" / "python", "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
        check=False,
    )
    address = own.get("PIP_INDEX_URL") or index.stdout.strip()
    if address:
        own.setdefault("UV_DEFAULT_INDEX", address)
    return own


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
