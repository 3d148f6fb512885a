"""`make sbom` lists the content of the image."""

from __future__ import annotations

import json
import re
import subprocess

from tests.support.releases import Releases
from tests.support.site import ROOT, Site


def _in_image(tag: str, *command: str) -> list[str]:
    run = ("docker", "run", "--rm", "--network", "none", "--entrypoint", command[0], f"comentarios-api:{tag}")
    return subprocess.run([*run, *command[1:]], capture_output=True, text=True, check=True).stdout.splitlines()


def _components(path: str, kind: str) -> set[tuple[str, str]]:
    with open(path) as file:
        found = json.load(file)["components"]
    # debsbom lists each package's source beside it.
    return {
        (one["name"], one["version"]) for one in found if one["purl"].startswith(kind) and "=source" not in one["purl"]
    }


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_sbom_lists_what_is_in_the_image(up: Site, releases: Releases) -> None:
    tag = releases.live()["tag"]
    made = up.make("sbom", TAG=tag)
    assert made.returncode == 0, made.stdout
    debian, python = re.findall(r"(\S+\.cdx\.json): \d+ components", made.stdout)
    packages = {
        tuple(line.split()) for line in _in_image(tag, "dpkg-query", "--show", "--showformat=${Package} ${Version}\n")
    }
    assert len(packages) > 50 and _components(debian, "pkg:deb/") == packages
    listed = _in_image(tag, "sh", "-c", "ls -d /opt/venv/lib/python3*/site-packages/*.dist-info")
    installed = {tuple(line.rsplit("/", 1)[1].removesuffix(".dist-info").rsplit("-", 1)) for line in listed}
    named = {(_plain(name), version) for name, version in _components(python, "pkg:pypi/")}
    # The lock is for every platform.
    elsewhere = set(re.findall(r"^(\S+?)==\S+ ;", (ROOT / "api" / "requirements.txt").read_text(), re.M))
    here = {(name, version) for name, version in named if name not in elsewhere}
    assert here <= {(_plain(name), version) for name, version in installed} <= named
