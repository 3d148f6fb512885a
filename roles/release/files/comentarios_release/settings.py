"""Where things are on this host, and the bounds of a release: read from the file that role release writes."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

FILE = Path("/etc/comentarios/release.json")


class ReleaseError(Exception):
    """What went wrong and what to do; shown to whoever asked for the release."""


@dataclass(frozen=True)
class Settings:
    """Attributes:
    stack_dir: folder of the live Compose files and of every service's configuration.
    project: name of the Compose project.
    domain: domain that the edge serves by HTTPS; empty: plain HTTP.
    ready_seconds: how long new replicas may take until they are ready.
    keep_images: how many of the newest images of the API stay on the host.
    keep_records: how many of the newest releases stay on the list, with their configuration.
    textfile: file with the metrics for the node exporter.
    edge_socket: where HAProxy's master process takes commands.
    """

    stack_dir: Path = Path("/opt/comentarios")
    project: str = "comentarios"
    domain: str = ""
    ready_seconds: int = 60
    keep_images: int = 5
    keep_records: int = 20
    textfile: Path = Path("/var/lib/node_exporter/textfile/release.prom")
    edge_socket: Path = Path("/var/lib/comentarios-edge/run/master.sock")

    @property
    def releases(self) -> Path:
        return self.stack_dir / "releases"

    @property
    def staged(self) -> Path:
        """What Ansible writes: the Compose files and the edge's configuration as they are to be."""
        return self.releases / "staged"

    @classmethod
    def read(cls, file: Path = FILE) -> Settings:
        """What the file says.

        Raises:
            ReleaseError: it is not there, or is not what role release of this version writes.
        """
        paths = {field.name for field in fields(cls) if field.type == "Path"}
        try:
            values: dict[str, Any] = json.loads(file.read_text())
            return cls(**values | {name: Path(values[name]) for name in paths & values.keys()})
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise ReleaseError(f"{file} cannot be used ({error}): `make up` writes it anew") from None
