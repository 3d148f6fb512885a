"""Where things are on this host, and the bounds of a release: read from the file that role stack writes."""

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
    keep_images: how many of the newest images of the API stay on the host.
    keep_records: how many of the newest releases stay on the list, with their configuration.
    textfile: file with the metrics for the node exporter.
    edge_dir: HAProxy's certificates, and the socket where its master process takes commands.
    """

    stack_dir: Path = Path("/opt/comentarios")
    project: str = "comentarios"
    domain: str = ""
    keep_images: int = 5
    keep_records: int = 20
    textfile: Path = Path("/var/lib/node_exporter/textfile/release.prom")
    edge_dir: Path = Path("/var/lib/comentarios-edge")

    @property
    def edge_socket(self) -> Path:
        return self.edge_dir / "run" / "master.sock"

    @property
    def releases(self) -> Path:
        return self.stack_dir / "releases"

    def staged(self, run: str) -> Path:
        """What the roles want in one run: the same tree as the live one, as far as they are part of that run."""
        return self.stack_dir / "staged" / run

    @classmethod
    def read(cls, file: Path = FILE) -> Settings:
        """What the file says.

        Raises:
            ReleaseError: it is not there, or is not what role stack of this version writes.
        """
        paths = {field.name for field in fields(cls) if field.type == "Path"}
        try:
            values: dict[str, Any] = json.loads(file.read_text())
            return cls(**values | {name: Path(values[name]) for name in paths & values.keys()})
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise ReleaseError(f"{file} cannot be used ({error}): `make up` writes it anew") from None
