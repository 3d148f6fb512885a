"""``make outdated`` and ``make sbom``: newer versions and known vulnerabilities; a bill of materials."""

import json
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
from cli.targets import Target
from cli.venv import environment
from common import images
from common.docker import docker, inspect
from common.errors import CommandError, last_line
from common.paths import ROOT
from common.progress import say

LOCKS = ("api/requirements", *(f"requirements/{name}" for name in ("run", "test", "checkov", "uv")))
# How the lock files are compiled: for every platform, from the oldest supported Python on.
COMPILE = (
    *("pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"),
    *("--no-annotate", "--no-header", "--no-emit-index-url"),
)
UPGRADES = "apt-get -qq update && apt-get -qq --simulate dist-upgrade"
Versions = dict[str, str]


def outdated(target: Target) -> None:
    """Prints newer versions of Python's and Debian's packages and of the images, and known vulnerabilities."""
    for heading, lines in (
        ("Python's packages, in the locks", _newer_python()),
        ("Debian's packages, in the images", _newer_debian()),
        ("Images", _newer_images()),
        ("Known vulnerabilities in the API's image and in what `make up` installs", _vulnerable()),
    ):
        say(f"▸ {heading}")
        for line in lines:
            say(f"  {line}")
    say('  docs/operations.md, "Updates", explains how to update.')


def _newer_python() -> Iterator[str]:
    found: dict[str, str] = {}
    for lock in LOCKS:
        command: list[str | Path] = [ROOT / ".venv" / "bin" / "uv", *COMPILE, "--upgrade", f"{lock}.in"]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"{lock}.in: not available: {last_line(done.stderr)}"
            continue
        found |= newer(locked((ROOT / f"{lock}.txt").read_text()), locked(done.stdout))
    yield from [found[name] for name in sorted(found)] or ["none is newer"]


def locked(text: str) -> Versions:
    """The pinned versions; the newest Python's if they differ by Python."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.M))


def newer(have: Versions, could: Versions) -> dict[str, str]:
    """One line for each package with another version."""
    return {
        name: f"{name} {version} → {could[name]}"
        for name, version in have.items()
        if name in could and could[name] != version
    }


def _newer_debian() -> Iterator[str]:
    newest = {name: images.newest(name) for name in images.STAND_INS.values()}
    api = docker("images", "--quiet", image.LOCAL).split()
    for name, built in {image.LOCAL: next(iter(api), None), **newest}.items():
        # Upstream's images are compared by their tags.
        if built is None:
            yield f"{name}: no such image in this machine's engine"
            continue
        try:
            said = docker("run", "--rm", "--user", "0:0", "--entrypoint", "sh", built, "-c", UPGRADES, timeout=300)
        except CommandError as error:
            yield f"{name}: not available: {last_line(str(error))}"
            continue
        lines = upgrades(said)
        yield f"{name}: {', '.join(lines) if lines else 'none is newer'}"


def upgrades(said: str) -> list[str]:
    """The packages that `apt-get --simulate dist-upgrade` would install; security updates are marked."""
    found = re.findall(r"^Inst (\S+) \[([^\]]+)\] \((\S+) ([^)]*)\)", said, re.M)
    return [f"{name} {old} → {new}{' (security)' if 'ecurity' in origin else ''}" for name, old, new, origin in found]


def _newer_images() -> Iterator[str]:
    for name in yaml.safe_load(images.IMAGE_VARIABLES.read_text()).values():
        repository, _, tag = str(name).partition("@")[0].rpartition(":")
        try:
            registry = Registry(repository)
            later, digest = later_tags(tag, registry.tags()), registry.digest(tag)
        except requests.HTTPError as error:
            yield f"{name}: the registry refuses ({error.response.status_code})"
            continue
        except (requests.RequestException, ValueError, LookupError):
            yield f"{name}: the registry cannot be reached"
            continue
        moved = "" if digest == str(name).partition("@")[2] else f"; {tag} is {digest}"
        yield f"{name}: {', '.join(later) or 'none is newer'}{moved}"


class Registry:
    """One repository of a registry, by the distribution API and without a login, as with `docker pull`.

    Raises:
        requests.RequestException: the registry cannot be reached, or refuses.
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
        """The digest of a tag."""
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
    """Of the tags with the same form, the newest with the same minor version and the newest of all, if later."""
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
            yield f"{lock}: not available: {last_line(done.stderr)[:200]}"
            continue
        yield from [f"{lock}: {line}" for line in vulnerable(found)]


def vulnerable(found: list[dict[str, Any]]) -> list[str]:
    """One line for each known vulnerability, and one for the packages that pip-audit could not check."""
    asked = [one for one in found if "skip_reason" not in one]
    lines = [
        f"{one['name']} {one['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for one in asked
        for flaw in one["vulns"]
    ]
    if len(asked) < len(found):
        lines.append(f"not available for {len(found) - len(asked)} of {len(found)} packages: PyPI cannot be reached")
    return lines or [f"none known in {len(found)} packages"]


def sbom(target: Target, tag: str) -> None:
    """Writes a CycloneDX bill of materials of the API's image: Debian's packages from dpkg, Python's from its lock.

    Raises:
        CommandError: the image is not in this machine's engine, or a tool fails.
    """
    tag = tag or image.tree_tag()
    name = f"{image.LOCAL}:{tag}"
    if not inspect("image", name):
        raise CommandError(f"{name} is not in this machine's engine: build it with `make image`, or give another TAG")
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
    # pip installs exactly what the lock names.
    lock = ROOT / "api" / "requirements.txt"
    _tool("cyclonedx-py", "requirements", "--output-reproducible", "--output-file", python, lock)
    for path in (debian, python):
        say(f"  {path}: {len(json.loads(path.read_text())['components'])} components")


def _tool(program: str, *arguments: str | Path) -> None:
    command = [ROOT / ".venv" / "bin" / program, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(f"{program} failed: {last_line(done.stderr)}")
