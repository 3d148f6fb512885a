"""``make outdated`` and ``make sbom``: what the project is made of, and what is newer."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
import yaml

from cli import image
from cli.errors import VerbError
from cli.targets import ROOT, Target
from cli.venv import environment
from sandbox import images
from sandbox.docker import docker, inspect
from sandbox.errors import SandboxError
from sandbox.progress import say

LOCKS = ("api/requirements", *(f"requirements/{name}" for name in ("run", "test", "checkov", "uv")))
# What the locks were made with: for every platform, and the oldest Python.
COMPILE = (
    *("pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-annotate", "--no-header", "--no-emit-index-url"),
)
UPGRADES = "apt-get -qq update && apt-get -qq --simulate dist-upgrade"
Versions = dict[str, str]


def outdated(target: Target) -> None:
    """Says what is newer in the locks, in the images and in their registries, and what is known to be vulnerable."""
    for heading, lines in (
        ("Python's packages, in the locks", _newer_python()),
        ("Debian's packages, in the images", _newer_debian()),
        ("Images", _newer_images()),
        ("Known vulnerabilities of what is in the API's image and of what `make up` needs", _vulnerable()),
    ):
        say(f"▸ {heading}")
        for line in lines:
            say(f"  {line}")
    say('  docs/operations.md, "Updates", says how to take them.')


def _newer_python() -> Iterator[str]:
    found: dict[str, str] = {}
    for lock in LOCKS:
        with tempfile.TemporaryDirectory() as folder:
            fresh = Path(folder, "lock.txt")
            command: list[str | Path] = [
                ROOT / ".venv" / "bin" / "uv",
                *COMPILE,
                "--upgrade",
                f"{lock}.in",
                "-o",
                fresh,
            ]
            done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
            if done.returncode:
                yield f"{lock}.in: not available: {_last(done.stderr)}"
                continue
            for name, line in newer(locked((ROOT / f"{lock}.txt").read_text()), locked(fresh.read_text())).items():
                found[name] = line
    yield from [found[name] for name in sorted(found)] or ["none is newer"]


def locked(text: str) -> Versions:
    """What a lock pins; of a package that is there for several Pythons, the newest one's."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.M))


def newer(have: Versions, could: Versions) -> dict[str, str]:
    """A line for each package whose version would be another."""
    return {
        name: f"{name} {version} → {could[name]}"
        for name, version in have.items()
        if name in could and could[name] != version
    }


def _newer_debian() -> Iterator[str]:
    newest = {name: images.newest(name) for name in images.STAND_INS.values()}
    api = docker("images", "--quiet", image.LOCAL).split()
    for name, built in {image.LOCAL: next(iter(api), None), **newest}.items():
        # Upstream's images stand for themselves.
        if built is None:
            yield f"{name}: none is in this machine's engine"
            continue
        try:
            said = docker("run", "--rm", "--user", "0:0", "--entrypoint", "sh", built, "-c", UPGRADES, timeout=300)
        except SandboxError as error:
            yield f"{name}: not available: {_last(str(error))}"
            continue
        lines = upgrades(said)
        yield f"{name}: {', '.join(lines) if lines else 'none is newer'}"


def upgrades(said: str) -> list[str]:
    """What `apt-get --simulate dist-upgrade` would install, security updates marked."""
    found = re.findall(r"^Inst (\S+) \[([^\]]+)\] \((\S+) ([^)]*)\)", said, re.M)
    return [f"{name} {old} → {new}{' (security)' if 'ecurity' in origin else ''}" for name, old, new, origin in found]


def _newer_images() -> Iterator[str]:
    for name in yaml.safe_load(images.IMAGE_VARIABLES.read_text()).values():
        repository, _, tag = str(name).partition("@")[0].rpartition(":")
        try:
            registry = Registry(repository)
            later, digest = later_tags(tag, registry.tags()), registry.digest(tag)
        except requests.HTTPError as error:
            yield f"{name}: its registry refuses ({error.response.status_code})"
            continue
        except (requests.RequestException, ValueError):
            yield f"{name}: its registry is not reachable from here"
            continue
        moved = "" if digest == str(name).partition("@")[2] else f"; {tag} is {digest}"
        yield f"{name}: {', '.join(later) or 'none is newer'}{moved}"


class Registry:
    """One repository of a registry, by the distribution API; asked without a log-in, as `docker pull` would.

    Raises:
        requests.RequestException: it cannot be reached, or refuses.
    """

    def __init__(self, repository: str, scheme: str = "https"):
        first, _, rest = repository.partition("/")
        if not rest or not re.search(r"[.:]|^localhost$", first):
            first, rest = "registry-1.docker.io", repository if rest else f"library/{repository}"
        self._url, self._headers = f"{scheme}://{first}/v2/{rest}", {"Accept": ", ".join(MANIFESTS)}

    def tags(self) -> list[str]:
        """Every tag."""
        found: list[str] = []
        url = f"{self._url}/tags/list?n=1000"
        while url:
            reply = self._ask("GET", url)
            found += reply.json()["tags"] or []
            url = requests.compat.urljoin(url, reply.links["next"]["url"]) if "next" in reply.links else ""
        return found

    def digest(self, tag: str) -> str:
        """What a tag stands for now."""
        return self._ask("HEAD", f"{self._url}/manifests/{tag}").headers["Docker-Content-Digest"]

    def _ask(self, method: str, url: str) -> requests.Response:
        reply = requests.request(method, url, headers=self._headers, timeout=15)
        challenge = reply.headers.get("WWW-Authenticate", "")
        if reply.status_code == 401 and challenge.startswith("Bearer "):
            given = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
            token = requests.get(given.pop("realm"), params=given, timeout=15)
            token.raise_for_status()
            self._headers["Authorization"] = f"Bearer {token.json()['token']}"
            reply = requests.request(method, url, headers=self._headers, timeout=15)
        reply.raise_for_status()
        return reply


MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


def later_tags(tag: str, tags: list[str]) -> list[str]:
    """Of the tags that are written like this one, the newest of its minor version and the newest of all, if later."""
    form = re.sub(r"\d+", r"(\\d+)", re.escape(tag))
    known = {one: tuple(map(int, found.groups())) for one in tags if (found := re.fullmatch(form, one))}
    match = re.fullmatch(form, tag)
    own = tuple(map(int, match.groups())) if match else ()
    later = sorted((version, one) for one, version in known.items() if version > own)
    same = [one for version, one in later if version[:2] == own[:2]]
    return list(dict.fromkeys([*same[-1:], *(one for _, one in later[-1:])]))


def _vulnerable() -> Iterator[str]:
    for lock in ("api/requirements.txt", "requirements/run.txt"):
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--format=json"]
        done = subprocess.run(
            [*command, "--progress-spinner=off", "-r", lock], cwd=ROOT, capture_output=True, text=True, check=False
        )
        try:
            found = json.loads(done.stdout)["dependencies"]
        except (ValueError, KeyError):
            yield f"{lock}: not available: {_last(done.stderr)[:200]}"
            continue
        yield from [f"{lock}: {line}" for line in vulnerable(found)]


def vulnerable(found: list[dict[str, Any]]) -> list[str]:
    """A line for each known flaw that pip-audit found, and one for the packages that it could not ask about."""
    asked = [one for one in found if "skip_reason" not in one]
    lines = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for one in asked
        for flaw in one["vulns"]
    ]
    if len(asked) < len(found):
        lines.append(
            f"not available for {len(found) - len(asked)} of {len(found)} packages: PyPI's data are out of reach"
        )
    return lines or [f"none is known of {len(found)} packages"]


def sbom(target: Target) -> None:
    """Writes what is in the API's image as CycloneDX: Debian's packages by dpkg's list, Python's by the lock.

    Raises:
        VerbError: the image is not in this machine's engine, or a tool fails.
    """
    tag = os.environ.get("TAG") or image.tag()
    name = f"{image.LOCAL}:{tag}"
    if not inspect("image", name):
        raise VerbError(f"{name} is not in this machine's engine: `make image` builds it, or TAG= names another")
    folder = target.state / "sbom"
    folder.mkdir(parents=True, exist_ok=True)
    debian, python = folder / f"{tag}-debian.cdx.json", folder / f"{tag}-python.cdx.json"
    made = docker("create", name).strip()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch, "root.tar")
            docker("export", "--output", str(root), made, timeout=300)
            _tool("debsbom", "generate", "--sbom-type", "cdx", "--distro-name", name, "--root", root, "--out", debian)
    finally:
        docker("rm", made)
    # The image has these and no others: pip installs nothing that the lock does not name.
    lock = ROOT / "api" / "requirements.txt"
    _tool("cyclonedx-py", "requirements", "--output-reproducible", "--output-file", python, lock)
    for path in (debian, python):
        say(f"  {path}: {len(json.loads(path.read_text())['components'])} components")


def _tool(program: str, *arguments: str | Path) -> None:
    command = [ROOT / ".venv" / "bin" / program, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise VerbError(f"{program} failed: {_last(done.stderr)}")


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1].strip()
