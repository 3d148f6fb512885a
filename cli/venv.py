"""Creates the virtual environment ``.venv`` from hash-locked requirements: ``python3 -m cli.venv run|test``.

It uses the standard library only, since it runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from common import apt
from common.errors import CommandError
from common.paths import ROOT, STATE
from common.progress import fail

VENV = ROOT / ".venv"
PYTHON, UV = VENV / "bin" / "python", VENV / "bin" / "uv"
LOCKS = ROOT / "requirements"
OLDEST = (3, 11)


def main(kind: str) -> int:
    """Installs ``requirements/<kind>.txt`` unless it is installed already; returns the exit status."""
    if sys.version_info < OLDEST:
        found, needed = (".".join(map(str, version[:2])) for version in (sys.version_info, OLDEST))
        return fail(f"python3 is {found}, Ansible 12 needs {needed} or later: install it, then `make PYTHON=…`")
    if installed(kind):
        return 0
    STATE.mkdir(exist_ok=True)
    # Of two verbs at once in a fresh clone, the second one waits.
    with (STATE / "venv.lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        return 0 if installed(kind) else install(kind)


def whole() -> bool:
    """Whether there is an environment of this Python. One of before an upgrade has its packages where none looks."""
    library = VENV / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    return all(path.exists() for path in (PYTHON, UV, library))


def installed(kind: str) -> bool:
    stamp = VENV / f".{kind}"
    return whole() and stamp.exists() and stamp.read_text() == digest(kind)


def digest(kind: str) -> str:
    return hashlib.sha256((LOCKS / f"{kind}.txt").read_bytes() + (LOCKS / "uv.txt").read_bytes()).hexdigest()


def install(kind: str) -> int:
    begin, title = time.monotonic(), f"virtual environment: requirements/{kind}.txt"
    print(f"▸ {title}", file=sys.stderr, flush=True)
    if not whole():
        if not make_empty():
            return fail("python3 cannot create a virtual environment: install python3-venv as root")
        pip: list[str | Path] = [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        if subprocess.run([*pip, "--require-hashes", "-r", LOCKS / "uv.txt"], check=False).returncode:
            return fail(
                "pip cannot install requirements/uv.txt (see above): check that the package index can be reached"
            )
    uv: list[str | Path] = [UV, "pip", "install", "--quiet", "--require-hashes", "--python", PYTHON]
    if subprocess.run([*uv, "-r", LOCKS / f"{kind}.txt"], env=environment(), check=False).returncode:
        return fail(f"requirements/{kind}.txt cannot be installed (see above): run the same command again to continue")
    (VENV / f".{kind}").write_text(digest(kind))
    print(f"✓ {title} ({time.monotonic() - begin:.1f} s)", file=sys.stderr, flush=True)
    return 0


def make_empty() -> bool:
    """Creates the empty environment; as root, first installs Debian's venv package if it is missing."""
    # Not the link to it in the environment, in which this program may run and which it removes.
    command: list[str | Path] = [Path(sys.executable).resolve(), "-m", "venv", VENV]

    def made() -> bool:
        shutil.rmtree(VENV, ignore_errors=True)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    if made():
        return True
    if apt.may_install():
        with contextlib.suppress(CommandError):
            apt.install("python3-venv")
        if made():
            return True
    shutil.rmtree(VENV, ignore_errors=True)
    return False


def environment() -> dict[str, str]:
    """uv's environment, with pip's certificates and package index."""
    own = {**os.environ, "UV_NATIVE_TLS": "true"}
    if own.get("PIP_CERT"):
        own.setdefault("SSL_CERT_FILE", own["PIP_CERT"])
    command: list[str | Path] = [PYTHON, "-m", "pip", "config", "get", "global.index-url"]
    index = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if address := own.get("PIP_INDEX_URL") or index:
        own.setdefault("UV_DEFAULT_INDEX", address)
    return own


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
