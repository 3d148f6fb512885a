"""Atomic writes, and the configuration as a tree of files."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .settings import ReleaseError

# The parts of the configuration in the stack's folder. Roles stage any of these; the other parts stay unchanged.
PARTS = ("docker-compose.yml", "docker-compose.override.yml", ".env", "haproxy", "secrets")
SERVICES = ("prometheus", "alertmanager", "grafana")
# Written by this program; not part of the configuration.
STATE = ("haproxy/live.cfg", "haproxy/servers.state")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file that replaces this one if the block succeeds, and is removed otherwise.

    It is on the disk first, since after a power cut a new name may be there and its content not. Its name is fixed, so
    that the leftover of a killed run is overwritten.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Replaces a file atomically."""
    with replacing(path) as temporary, temporary.open("w") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(text)


def write_json(path: Path, value: Any) -> None:
    write(path, json.dumps(value, indent=2, sort_keys=True) + "\n", 0o600)


def read_json(path: Path) -> Any:
    """The file's content; None if it does not exist.

    Raises:
        ReleaseError: it is not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ReleaseError(f"{path} is damaged ({error}): restore or remove it") from None


def secret(name: str) -> bool:
    return "secrets" in name.split("/")


def listing(root: Path, secrets: bool = True) -> dict[str, Path]:
    """Every file of a configuration, by its path relative to the root."""
    found = {}
    for part in (*PARTS, *SERVICES):
        for path in [root / part] if (root / part).is_file() else sorted((root / part).rglob("*")):
            name = str(path.relative_to(root))
            # Skips temporary files (`replacing`).
            half = path.name.startswith(".") and path.name.endswith(".new")
            if path.is_file() and name not in STATE and not half and (secrets or not secret(name)):
                found[name] = path
    return found


def merged(staged: dict[str, Path], before: dict[str, Path]) -> dict[str, Path]:
    """The staged parts of the configuration, and the previous ones of the others."""
    parts = {name.split("/")[0] for name in staged}
    return staged | {name: path for name, path in before.items() if name.split("/")[0] not in parts}


def differing(one: dict[str, Path], other: dict[str, Path]) -> set[str]:
    """The names of files that are in one configuration only, or differ."""
    common = one.keys() & other.keys()
    return (one.keys() ^ other.keys()) | {name for name in common if one[name].read_bytes() != other[name].read_bytes()}


def changes(wanted: dict[str, Path], live: dict[str, Path]) -> set[str]:
    """The names of files to change in the live configuration. Unused secrets do not count yet."""
    return {name for name in differing(wanted, live) if name in wanted or not secret(name)}


def copy(source: Path, target: Path) -> None:
    """Copies a file atomically, with mode and owner; missing folders are created like the source's."""
    _folder(source.parent, target.parent)
    with replacing(target) as temporary:
        shutil.copy2(source, temporary)
        _own(source, temporary)


def _folder(source: Path, target: Path) -> None:
    if not target.exists():
        _folder(source.parent, target.parent)
        target.mkdir()
        shutil.copymode(source, target)
        _own(source, target)


def _own(source: Path, target: Path) -> None:
    status = source.stat()
    os.chown(target, status.st_uid, status.st_gid)


def place(configuration: Path, stack_dir: Path) -> None:
    """Makes a configuration live. Unused secrets stay until `retire_secrets`."""
    wanted, live = listing(configuration), listing(stack_dir)
    for name in sorted(changes(wanted, live)):
        if name in wanted:
            copy(wanted[name], stack_dir / name)
        else:
            live[name].unlink()


def add_secrets(configuration: Path, stack_dir: Path) -> None:
    """Adds the API's secrets. Their names depend on their content, so the existing ones are not affected."""
    for name, path in listing(configuration).items():
        if name.startswith("secrets/") and not (stack_dir / name).exists():
            copy(path, stack_dir / name)


def forget_secrets(configuration: Path) -> None:
    """Removes a finished release's secrets, so that a rollback cannot restore a revoked password."""
    for folder in sorted(configuration.rglob("secrets")):
        shutil.rmtree(folder)


def retire_secrets(stack_dir: Path) -> None:
    """Removes the services' secrets that their configuration no longer uses."""
    live = listing(stack_dir, secrets=False)
    for service in SERVICES:
        named = b"".join(path.read_bytes() for name, path in live.items() if name.startswith(f"{service}/"))
        for path in (stack_dir / service / "secrets").glob("*"):
            if path.name.encode() not in named:
                path.unlink()


def retire_databases(stack_dir: Path, releases: Path) -> None:
    """Removes the databases' URLs that neither the live configuration nor a release names."""
    name = "docker-compose.override.yml"
    named = "".join(file.read_text() for file in (*stack_dir.glob(name), *releases.glob(f"*/config/{name}")))
    for path in (stack_dir / "secrets").glob("database_url-*"):
        if path.name not in named:
            path.unlink()


def database(configuration: Path) -> str:
    """The name of the secret with the database's URL; empty for SQLite."""
    found = re.search(r"/secrets/(database_url-\w+)", (configuration / "docker-compose.override.yml").read_text())
    return found[1] if found else ""


def same_database(one: Path | None, other: Path | None) -> bool:
    """Whether two files with URLs name the same database, for any user; None is SQLite."""
    if one is None or other is None:
        return one is other

    def place(file: Path) -> object:
        try:
            url = urlsplit(file.read_text().strip())
            return url.hostname, url.port or 5432, url.path, url.query
        except (OSError, ValueError):
            return file

    return place(one) == place(other)


def without(env_file: Path, *names: str) -> str:
    """The text of a Compose `.env` file without these variables."""
    lines = env_file.read_text().splitlines()
    return "".join(f"{line}\n" for line in lines if line.partition("=")[0] not in names)
