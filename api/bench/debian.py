"""Debian's packages that tests and proofs need."""

import os
import shutil
import subprocess


def install(*packages: str) -> None:
    """Install packages when root on Debian or Ubuntu; raises RuntimeError elsewhere: which to install."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise RuntimeError(f"not installed: install the package {' and '.join(packages)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "-q", "-y", "--no-install-recommends", "install", *packages]
    for one in (["apt-get", "-q", "update"], command):
        done = subprocess.run(one, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(one)} failed: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
