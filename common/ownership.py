"""Whose a sandbox is: its name belongs to one state folder, as the folder and the Docker network both record."""

from __future__ import annotations

from pathlib import Path

from common import files, keys
from common.config import Config
from common.docker import docker, inspect
from common.errors import CommandError

STATE_LABEL = "comentarios.sandbox.state"


def owner(config: Config) -> Path | None:
    """The state folder of what the engine has under the sandbox's name; None when nothing, or of an unknown folder."""
    network = inspect("network", config.name) or {}
    path = network.get("Labels", {}).get(STATE_LABEL)
    return Path(path) if path else None


def check(config: Config) -> None:
    """Finds that the folder is no other sandbox's, and the sandbox no other folder's.

    Raises:
        CommandError: one of them is; the message says which, and which variables choose others.
    """
    record = _record(config)
    name = record.read_text().strip() if record.exists() else config.name
    if name != config.name:
        raise CommandError(
            f"{config.state} is the state of the sandbox {name}, not of {config.name}: set SANDBOX_NAME={name}, "
            "or SANDBOX_STATE to another folder"
        )
    elsewhere = owner(config)
    # A folder that is gone has no use for what it made.
    if elsewhere and elsewhere != config.state and (elsewhere / record.name).exists():
        raise CommandError(
            f"the sandbox {config.name} is that of {elsewhere}: `make down` there, or set SANDBOX_NAME, "
            "SANDBOX_SUBNET, SANDBOX_REGISTRY_PORT and EDGE_PORT to have another beside it"
        )


def left_over(config: Config) -> bool:
    """Whether the engine holds something of the sandbox's name though the folder has not made a sandbox."""
    return not _record(config).exists() and any(
        docker(*kind, "--quiet", "--filter", f"label={config.label}").strip()
        for kind in (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
    )


def record(config: Config) -> None:
    """Writes down whose the folder is."""
    files.make_private(config.state)
    files.write(_record(config), f"{config.name}\n")
    keys.make(config.state)


def _record(config: Config) -> Path:
    return config.state / "name"
