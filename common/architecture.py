"""Processor architectures, as EC2 calls them. Nothing is emulated: hosts and images have the Docker Engine's."""

from common.docker import docker
from common.errors import CommandError

# An architecture → an instance type that has it.
TYPES = {"x86_64": "t3.small", "arm64": "t4g.small"}
# Other names, of Docker and of Linux.
NAMES = {"amd64": "x86_64", "aarch64": "arm64"}


def of_engine() -> str:
    """The Docker Engine's architecture.

    Raises:
        CommandError: EC2 does not have it.
    """
    found = named(docker("info", "--format", "{{.Architecture}}").strip())
    if found not in TYPES:
        raise CommandError(
            f"the Docker Engine's architecture is {found}, and EC2 has only {' and '.join(TYPES)}: use another machine"
        )
    return found


def named(name: str) -> str:
    """EC2's name of an architecture."""
    return NAMES.get(name, name)
