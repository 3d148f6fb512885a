"""The owner of a sandbox: its name belongs to one state folder. Both the folder and the Docker network record this."""

from pathlib import Path

from common import files, keys
from common.config import Config
from common.docker import docker, inspect
from common.errors import CommandError

STATE_LABEL = "comentarios.sandbox.state"


def owner(config: Config) -> Path | None:
    """The state folder of the sandbox with this name in the engine; None if there is none."""
    network = inspect("network", config.name) or {}
    path = network.get("Labels", {}).get(STATE_LABEL)
    return Path(path) if path else None


def check(config: Config) -> None:
    """Checks that the state folder belongs to this sandbox, and the sandbox to this folder.

    Raises:
        CommandError: one of them does not; the message names the variables to set.
    """
    record = _record(config)
    name = record.read_text().strip() if record.exists() else config.name
    if name != config.name:
        raise CommandError(
            f"{config.state} is the state folder of the sandbox {name}, not of {config.name}: set SANDBOX_NAME={name}, "
            "or set SANDBOX_STATE to another folder"
        )
    elsewhere = owner(config)
    # If that folder was deleted, its sandbox may be replaced.
    if elsewhere and elsewhere != config.state and (elsewhere / record.name).exists():
        raise CommandError(
            f"the sandbox {config.name} belongs to {elsewhere}: run `make down` there, or set SANDBOX_NAME, "
            "SANDBOX_SUBNET, SANDBOX_REGISTRY_PORT and EDGE_PORT for a second one"
        )


def left_over(config: Config) -> bool:
    """Whether the engine has something with the sandbox's name although the folder has no sandbox."""
    return not _record(config).exists() and any(
        docker(*kind, "--quiet", "--filter", f"label={config.label}").strip()
        for kind in (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
    )


def record(config: Config) -> None:
    """Records the sandbox that the folder belongs to."""
    files.make_private(config.state)
    files.write(_record(config), f"{config.name}\n")
    keys.make(config.state)


def _record(config: Config) -> Path:
    return config.state / "name"
