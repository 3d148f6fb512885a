#!/usr/bin/env python3
"""Build the API's image: `python3 api/image.py --tag NAME [--base BASE]`. Standard library only.

What `docker build` alone does not do:

- the context is made on the fly from what the image needs, plus a CA bundle when SSL_CERT_FILE, PIP_CERT or
  REQUESTS_CA_BUNDLE names one (a proxy's; it reaches the builder stage only, never the final image);
- the image is then rewritten so that two builds of one commit are one image: files get one fixed time, entries
  are sorted, the image's own date is SOURCE_DATE_EPOCH (default: the commit's). The layers
  below the application's stay the same from commit to commit, so that a release pushes and pulls little.

Works with the classic builder and with BuildKit. Prints the image's ID. From Python: `build(tag, base, …)`.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
CONTEXT = ("Dockerfile", "requirements.txt", "api.py", "comentarios")
CA_VARIABLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
# The time of every file above the base. SOURCE_DATE_EPOCH would change with each commit and create new layers for
# unchanged packages. Nothing reads the time, since bytecode is not checked against it (see the Dockerfile).
FILE_TIME = 0


class BuildError(Exception):
    """The image could not be built; the message says why."""


def build(tag: str, base: str = "debian:13-slim", version: str | None = None, no_cache: bool = False) -> str:
    """Build, make reproducible, load as `tag`; return the image's ID (`sha256:…`).

    base: a Debian 13 image with apt. version: default, `git describe`. Raises `BuildError`.
    """
    commit = _git("rev-parse", "HEAD") or "unknown"
    version = version or _git("describe", "--always", "--dirty") or "development"
    given = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or "0"
    if not given.isdecimal():
        raise BuildError(f"SOURCE_DATE_EPOCH must be whole seconds since 1970, not {given!r}")
    epoch = int(given)
    with tempfile.TemporaryDirectory(prefix="comentarios-image-") as folder:
        context = Path(folder, "context")
        _make_context(context)
        id_file = Path(folder, "id")
        command = ["docker", "build", "--iidfile", str(id_file), "--file", str(context / "Dockerfile")]
        arguments = {"BASE_IMAGE": base, "VERSION": version, "COMMIT": commit, "SOURCE_DATE_EPOCH": epoch}
        for name, value in arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        if no_cache:
            command.append("--no-cache")
        _run([*command, str(context)], "docker build failed", quiet=False)
        raw = id_file.read_text().strip()
        return _make_reproducible(raw, base, tag, epoch, Path(folder))


def _make_context(folder: Path) -> None:
    folder.mkdir()
    for name in CONTEXT:
        source = HERE / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copyfile(source, folder / name)
    for variable in CA_VARIABLES:
        bundle = os.environ.get(variable)
        if bundle and Path(bundle).is_file():
            shutil.copyfile(bundle, folder / "extra-ca.crt")
            break
    # File modes depend on the umask at checkout.
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _make_reproducible(raw: str, base: str, tag: str, epoch: int, folder: Path) -> str:
    done = subprocess.run(["docker", "image", "inspect", base], capture_output=True, text=True, check=False)
    # None if only the builder has the image (BuildKit): then all layers are rewritten.
    base_layers: list[str] = json.loads(done.stdout)[0]["RootFS"]["Layers"] if done.returncode == 0 else []
    saved = folder / "saved.tar"
    _run(["docker", "save", "--output", str(saved), raw], "docker save failed")
    with tarfile.open(saved) as archive:
        manifest = json.load(_member(archive, "manifest.json"))[0]
        config = json.load(_member(archive, manifest["Config"]))
        layers = []
        for number, name in enumerate(manifest["Layers"]):
            path = folder / f"layer-{number}.tar"
            with _member(archive, name) as stream, path.open("wb") as target:
                if number < len(base_layers):
                    # Unchanged, so that it is shared with the base image.
                    shutil.copyfileobj(stream, target)
                else:
                    _rewrite_layer(stream, target)
            layers.append(path)
    rewritten = [f"sha256:{_digest(path)}" for path in layers[len(base_layers) :]]
    config["rootfs"]["diff_ids"] = base_layers + rewritten
    date = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    config["created"] = date
    for key in ("container", "container_config", "docker_version", "moby.buildkit.buildinfo.v1"):
        config.pop(key, None)
    for key in ("Hostname", "Image"):
        if key in config["config"]:
            config["config"][key] = ""
    for step in config.get("history", []):
        step["created"] = date
    return _load(config, layers, tag, folder)


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    assert found, f"docker save wrote {name} as something else than a file"
    return found


def _rewrite_layer(source: IO[bytes], target: IO[bytes]) -> None:
    """The same files, sorted by name, with the fixed time and without data of this machine."""
    with (
        tarfile.open(fileobj=source, mode="r:*") as old,
        tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as new,
    ):
        for entry in sorted(old.getmembers(), key=lambda member: member.name):
            entry.mtime = FILE_TIME
            entry.pax_headers = {}
            entry.uname = entry.gname = ""
            new.addfile(entry, old.extractfile(entry) if entry.isreg() else None)


def _load(config: dict[str, Any], layers: list[Path], tag: str, folder: Path) -> str:
    text = json.dumps(config, sort_keys=True, separators=(",", ":")).encode()
    identity = hashlib.sha256(text).hexdigest()
    manifest = [{"Config": f"{identity}.json", "RepoTags": [tag], "Layers": [path.name for path in layers]}]
    rewritten = folder / "rewritten.tar"
    with tarfile.open(rewritten, "w") as archive:
        for name, data in ((f"{identity}.json", text), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for path in layers:
            archive.add(path, path.name)
    _run(["docker", "load", "--quiet", "--input", str(rewritten)], "docker load failed")
    return _run(["docker", "image", "inspect", "--format", "{{.Id}}", tag], "docker image inspect failed").strip()


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _run(command: list[str], problem: str, quiet: bool = True) -> str:
    """Run a command, with its output on standard error unless `quiet`. Raises `BuildError` with the last lines."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE if quiet else sys.stderr,
            stderr=subprocess.PIPE if quiet else None,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise BuildError("docker is not installed: install Docker's client") from None
    if done.returncode:
        detail = " ".join((done.stderr or "see the lines above").split())[-400:]
        raise BuildError(f"{problem}: {detail}")
    return done.stdout or ""


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Build and load the API's image, the same from the same commit; print its ID."
    )
    parser.add_argument("--tag", required=True, help="name:tag to give it")
    parser.add_argument("--base", default="debian:13-slim", help="a Debian 13 image with apt (default: %(default)s)")
    parser.add_argument("--version", help="default: git describe")
    parser.add_argument("--no-cache", action="store_true", help="run every step again")
    try:
        print(build(**vars(parser.parse_args())))
    except BuildError as error:
        sys.exit(f"image: {error}")


if __name__ == "__main__":
    main()
