"""Files that are whole at any moment, and the configuration as a set of files."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .settings import ReleaseError

# What a release keeps of the configuration. The first four come from Ansible's staging folder, the others are
# changed in place by their roles.
STAGED = ("docker-compose.yml", "docker-compose.override.yml", ".env", "haproxy/haproxy.cfg")
IN_PLACE = ("prometheus", "alertmanager", "grafana")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside this one, which takes its place when the block ends well, and else is gone.

    Its name is always the same, so that what a killed run leaves behind is overwritten.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Replaces a file in one step: a reader, or a crash, finds the old content or the new one."""
    with replacing(path) as temporary, temporary.open("w") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def write_json(path: Path, value: Any) -> None:
    write(path, json.dumps(value, indent=2, sort_keys=True) + "\n", 0o600)


def read_json(path: Path) -> Any:
    """The file's content, None where there is none.

    Raises:
        ReleaseError: it is no JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ReleaseError(f"{path} is damaged ({error}): restore or remove it") from None


def listing(root: Path) -> dict[str, Path]:
    """Every file of a configuration, by its path below the root.

    Folders named ``secrets`` are left out: a rollback must not bring a revoked password back.
    """
    found = {part: root / part for part in STAGED if (root / part).is_file()}
    for part in IN_PLACE:
        for path in sorted((root / part).rglob("*")):
            relative = path.relative_to(root)
            if path.is_file() and "secrets" not in relative.parts:
                found[str(relative)] = path
    return found


def differing(one: dict[str, Path], other: dict[str, Path]) -> set[str]:
    """Names of the files that are in one configuration only, or whose content differs."""
    common = one.keys() & other.keys()
    return (one.keys() ^ other.keys()) | {name for name in common if one[name].read_bytes() != other[name].read_bytes()}


def copy(source: Path, target: Path) -> None:
    """Copies a file in one step, with its mode and owner."""
    with replacing(target) as temporary:
        shutil.copy2(source, temporary)
        status = source.stat()
        os.chown(temporary, status.st_uid, status.st_gid)


def place(configuration: Path, stack_dir: Path) -> set[str]:
    """Makes the live configuration the given one; returns the names of the files that changed."""
    wanted, live = listing(configuration), listing(stack_dir)
    changed = differing(wanted, live)
    for name in sorted(changed):
        if name in wanted:
            copy(wanted[name], stack_dir / name)
        else:
            live[name].unlink()
    return changed


def variables(env_file: Path) -> dict[str, str]:
    """The variables of a Compose ``.env`` file."""
    lines = (line.partition("=") for line in env_file.read_text().splitlines() if not line.startswith("#"))
    return {name: value for name, equals, value in lines if equals}
