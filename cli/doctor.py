"""``make doctor``: checks every prerequisite and says what to do. ``make up`` runs the quick checks."""

import http.client
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from cli import downloads, sandbox, terraform
from cli.targets import Target, provider_mirror
from common import engine
from common.check import BAD, GOOD, NOTE, Check, tried
from common.docker import docker
from common.errors import last_line
from common.progress import say

NEEDED_MIB = 2048
OLDEST_ENGINE, OLDEST_TERRAFORM = (20, 10), (1, 10)
REGISTRIES = {
    "PyPI": ("https://pypi.org/simple/", "Python's packages: set PIP_INDEX_URL to a mirror"),
    "Docker Hub": ("https://registry-1.docker.io/v2/", "the stack's images are built from Debian's packages instead"),
    "Debian": ("http://deb.debian.org/debian/dists/trixie/Release", "the hosts' packages: apt needs a mirror or proxy"),
    "Terraform": ("https://registry.terraform.io/.well-known/terraform.json", "its provider: a mirror on this machine"),
}


def doctor(target: Target) -> int:
    """Prints a table; returns 1 when something would stop `make up`."""
    rows = [*quick(target), *slow()]
    if target.is_sandbox and engine.answers():
        rows += sandbox.checks()
    widths = (max(len(row.what) for row in rows), 4)
    for row in rows:
        help_ = f": {row.help}" if row.help else ""
        say(f"{row.state:<{widths[1]}}  {row.what:<{widths[0]}}  {row.found}{help_}")
    return int(any(row.state == BAD for row in rows))


def quick(target: Target) -> Iterator[Check]:
    """Checks of this machine, within two seconds."""
    account = partial(tried, "credentials", lambda: f"AWS account {terraform.account(target)}")
    checks = (_terraform, partial(_locale, target), _memory, _engine if target.is_sandbox else account)
    with ThreadPoolExecutor() as pool:
        yield from pool.map(lambda check: check(), checks)


def _compose() -> Check:
    done = subprocess.run(["docker", "compose", "version", "--short"], capture_output=True, text=True, check=False)
    if done.returncode:
        return Check("compose", NOTE, "`docker compose` is missing", f"`make dev` downloads {downloads.COMPOSE.title}")
    return Check("compose", GOOD, done.stdout.strip())


def slow() -> Iterator[Check]:
    """Checks that use the network, and of what `make up` does not need."""
    if shutil.which("docker"):
        yield _compose()
    with ThreadPoolExecutor() as pool:
        yield from pool.map(_registry, REGISTRIES)


def _terraform() -> Check:
    if not shutil.which("terraform"):
        download = f"`make up` downloads {downloads.TERRAFORM.title}"
        instead = "OpenTofu is used instead" if shutil.which("tofu") else download
        return Check("terraform", NOTE, "terraform is missing", instead)
    done = subprocess.run(["terraform", "version", "-json"], capture_output=True, text=True, check=False)
    found = re.search(r'"terraform_version":\s*"(\d+)\.(\d+)[^"]*"', done.stdout)
    if not found:
        said = f"`terraform version` fails: {last_line(done.stderr)}"
        return Check("terraform", BAD, said, "install Terraform 1.10 or later")
    if (int(found[1]), int(found[2])) < OLDEST_TERRAFORM:
        version = f"{found[1]}.{found[2]}"
        return Check(
            "terraform", BAD, f"terraform is {version}", "install 1.10 or later, which can lock its state in S3"
        )
    return Check("terraform", GOOD, found[0].split('"')[3])


def _locale(target: Target) -> Check:
    if replaced := target.variables.get("LC_ALL"):
        return Check("locale", NOTE, f"no UTF-8 locale is set: {replaced} is used")
    return Check("locale", GOOD, os.environ.get("LC_ALL") or os.environ.get("LANG") or "UTF-8")


def _memory() -> Check:
    try:
        found = re.search(r"^MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if not found:
        return Check("memory", NOTE, "unknown")
    free = int(found[1]) // 1024
    if free < NEEDED_MIB:
        return Check("memory", NOTE, f"{free} MiB free", f"{NEEDED_MIB} MiB are needed for the host and the builds")
    return Check("memory", GOOD, f"{free} MiB free")


def _engine() -> Check:
    if not engine.answers():
        if engine.denied():
            refused = "the Docker Engine runs, but this user may not use it"
            return Check("engine", BAD, refused, "add the user to the group docker")
        return Check("engine", NOTE, "not running", "as root, `make up` installs and starts it; otherwise start it")
    known = json.loads(docker("info", "--format", "{{json .}}"))
    version, cgroup = known["ServerVersion"], known.get("CgroupVersion", "?")
    found = f"Docker Engine {version}, cgroup v{cgroup}, {known['OSType']}/{known['Architecture']}"
    numbers = tuple(int(one) for one in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST_ENGINE:
        return Check("engine", BAD, found, "20.10 or later is needed for private cgroups")
    return Check("engine", GOOD, found)


def _registry(name: str) -> Check:
    url, help_ = REGISTRIES[name]
    if name == "PyPI" and os.environ.get("PIP_INDEX_URL"):
        url = os.environ["PIP_INDEX_URL"]
    if name == "Terraform" and (mirror := provider_mirror()):
        return Check(name, GOOD, f"a mirror: {mirror}")
    try:
        urllib.request.urlopen(urllib.request.Request(url, headers={"User-Agent": "comentarios"}), timeout=5).close()
    except urllib.error.HTTPError as error:
        if error.code not in {401, 405}:
            return Check(name, NOTE, f"answers with status {error.code}", help_)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Check(name, NOTE, f"cannot be reached ({getattr(error, 'reason', error)})", help_)
    return Check(name, GOOD, "can be reached")
