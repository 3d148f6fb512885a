"""Possible secrets, found by detect-secrets, without the known false positives."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

SCANNER = Path(sys.executable).parent / "detect-secrets"
# Every third line: it has no letter or digit, or is no more than a package's hash.
EMPTY = r"^\W*(--hash=sha256:[0-9a-f]{64})?\W*$"
# What looks like a secret and is none: (file name, kind) → why. By name alone, as files move and history does not.
NONE = {
    ("api.py", "Hex High Entropy String"): "versions, the examples of a legend",
    ("package-lock.json", "Base64 High Entropy String"): "packages' hashes",
    ("test_inputs.py", "Hex High Entropy String"): "made up, a request's id",
    ("program.py", "Hex High Entropy String"): "Terraform's and Compose's checksums",
    ("downloads.py", "Hex High Entropy String"): "the same; program.py is its earlier name",
    ("test_aws.py", "Secret Keyword"): "made up, for a database that moto makes",
    ("config.py", "Secret Keyword"): "the sandbox's key, the word sandbox, and moto's fixed password for ECR",
    ("ec2.py", "Secret Keyword"): "the sandbox's key, the word sandbox",
    ("90_sandbox.cfg", "Secret Keyword"): "a setting that has no password, and one that locks it",
    ("conftest.py", "Secret Keyword"): "the word test; its API is on this machine and takes any",
    ("backup.py", "Secret Keyword"): "the word test; its API is on this machine and takes any",
    ("test_comments.py", "Base64 High Entropy String"): "the name of a bucket",
    ("test_files.py", "Secret Keyword"): "the words rotated and revoked",
    ("test_move.py", "Basic Auth Credentials"): "made up; there is no such server",
    ("test_postgresql.py", "Basic Auth Credentials"): "made up, for a stand-in of psql",
    ("test_postgresql.py", "Secret Keyword"): "made up, for a stand-in of psql",
    ("test_backup.py", "Secret Keyword"): "the sandbox's key, the word sandbox",
    ("test_release.py", "Secret Keyword"): "the name of a file, and two made-up addresses",
    ("test_identity.py", "AWS Access Key"): "made up; the sandbox takes any",
    ("test_refusals.py", "Secret Keyword"): "the word old, in a session that has expired",
    ("test_tools.py", "Secret Keyword"): "the word secret, to see that it goes nowhere",
    ("emulator.py", "AWS Access Key"): "made up; its APIs are on this machine and take any",
    ("emulator.py", "Secret Keyword"): "made up; its APIs are on this machine and take any",
    ("test_alertmanager.py", "Secret Keyword"): "made up, to see that it is not printed",
    ("variables.tftest.hcl", "Private Key"): "its first line alone, to see that it is refused",
    ("variables.tftest.hcl", "Basic Auth Credentials"): "made up, to see that it is refused",
}


def unknown(folder: Path, paths: Mapping[str, str]) -> list[tuple[str, str]]:
    """The files of a folder that hold what is not in NONE: (path, kind).

    Args:
        paths: name in the folder → path in the repository. The end of a name tells the scanner what kind of file it is.
    """
    command: list[str | Path] = [SCANNER, "scan", "--all-files", "--no-verify", "--exclude-lines", EMPTY, "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["results"]
    secrets = {(paths[file], one["type"]) for file, lines in found.items() for one in lines}
    return sorted(one for one in secrets if (Path(one[0]).name, one[1]) not in NONE)
