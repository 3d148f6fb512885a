"""No secret in any file that git has ever had: detect-secrets over every version of each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCANNER = Path(sys.executable).parent / "detect-secrets"
# What looks like a secret and is none: (file name, kind) → why. By name alone, as files move and history does not.
NONE = {
    ("config.py", "Secret Keyword"): "the sandbox's key, the word sandbox, and moto's fixed password for ECR",
    ("ec2.py", "Secret Keyword"): "the sandbox's key, the word sandbox",
    (
        "90_sandbox.cfg",
        "Secret Keyword",
    ): "a setting that has no password, and one that locks it",
    ("conftest.py", "Secret Keyword"): "the word test; its API is on this machine and takes any",
    ("test_backup.py", "Secret Keyword"): "the sandbox's key, the word sandbox",
    ("test_identity.py", "AWS Access Key"): "made up; the sandbox takes any",
    ("test_refusals.py", "Secret Keyword"): "the word old, in a session that has expired",
    ("emulator.py", "AWS Access Key"): "made up; its APIs are on this machine and take any",
    ("emulator.py", "Secret Keyword"): "made up; its APIs are on this machine and take any",
    ("test_alertmanager.py", "Secret Keyword"): "made up, to see that it is not printed",
    ("variables.tftest.hcl", "Private Key"): "its first line alone, to see that it is refused",
    ("variables.tftest.hcl", "Basic Auth Credentials"): "made up, to see that it is refused",
}


def test_no_secret_in_any_version(tmp_path):
    paths = _versions(tmp_path)
    assert len(paths) > 100
    command = [SCANNER, "scan", "--all-files", "--no-verify", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["results"]
    secrets = {(Path(paths[file]).name, one["type"]) for file, lines in found.items() for one in lines}
    unknown = sorted(secrets - NONE.keys())
    assert not unknown, f"remove it, revoke it, or say in {Path(__file__).name} why it is none"


def test_the_scanner_finds_one(tmp_path):
    """It cannot pass by finding nothing at all."""
    key = "AKIA" + "Q3EGVJ7LTKPW2XNA"
    (tmp_path / "settings.py").write_text(f'aws_access_key_id = "{key}"\n')
    command = [SCANNER, "scan", "--all-files", "--no-verify", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["results"]["settings.py"]


def _versions(folder: Path) -> dict[str, str]:
    """Writes every version of every file that git has, and those that it would add; name there → path."""
    listed = _git("rev-list", "--objects", "--all").splitlines()
    named = dict(line.split(" ", 1) for line in listed if " " in line)
    batch = "\n".join(named).encode()
    output = subprocess.run(["git", "cat-file", "--batch"], cwd=ROOT, input=batch, capture_output=True, check=True)
    content, position, paths = output.stdout, 0, {}
    while position < len(content):
        end = content.index(b"\n", position)
        identity, kind, size = content[position:end].decode().split()
        if kind == "blob":
            # The end of the name tells the scanner what kind of file it is.
            name = f"{identity}-{named[identity].replace('/', '_')}"
            (folder / name).write_bytes(content[end + 1 : end + 1 + int(size)])
            paths[name] = named[identity]
        position = end + 2 + int(size)
    for path in _git("ls-files", "--others", "--modified", "--exclude-standard").splitlines():
        if (ROOT / path).is_file():
            name = f"now-{path.replace('/', '_')}"
            (folder / name).write_bytes((ROOT / path).read_bytes())
            paths[name] = path
    return paths


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout
