"""Folders on this host and limits of a release, from the file that role stack writes."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

FILE = Path("/etc/comentarios/release.json")


class ReleaseError(Exception):
    """What went wrong and what to do, for the user."""


@dataclass(frozen=True)
class Settings:
    """Attributes:
    stack_dir: folder of the live Compose files and of every service's configuration.
    project: name of the Compose project.
    domain: the site's domain, served by HTTPS; empty for plain HTTP.
    keep_images: how many of the API's newest images are kept on the host.
    keep_records: how many of the newest releases are kept, with their configuration.
    textfile: file with the metrics for the node exporter.
    edge_dir: HAProxy's certificates, and the socket of its master process.
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
        """The files that the roles have staged in a run, in the same tree as the live ones."""
        return self.stack_dir / "staged" / run

    @classmethod
    def read(cls, file: Path = FILE) -> Self:
        """The settings in the file.

        Raises:
            ReleaseError: it is missing, or from another version.
        """
        paths = {field.name for field in fields(cls) if field.type is Path}
        try:
            values: dict[str, Any] = json.loads(file.read_text())
            return cls(**values | {name: Path(values[name]) for name in paths & values.keys()})
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise ReleaseError(f"{file} cannot be used ({error}): `make up` writes it again") from None
