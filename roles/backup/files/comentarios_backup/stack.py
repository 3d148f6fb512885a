"""The API's replicas, which are stopped while the database is swapped."""

import time
from contextlib import AbstractContextManager

# Role stack installs it beside this program.
from comentarios_release.edge import get
from comentarios_release.engine import Container, Engine
from comentarios_release.lock import exclusive
from comentarios_release.records import Records
from comentarios_release.settings import ReleaseError, Settings

from .settings import BackupError

PORT = 8000
READY_SECONDS = 60


class Stack:
    def __init__(self, settings: Settings | None = None):
        self._settings = settings or Settings()
        self._engine = Engine(self._settings)

    def release(self) -> str:
        """The tag of the live release; empty if there is none, or its record is damaged."""
        try:
            live = Records(self._settings.releases).live()
        except ReleaseError:
            return ""
        return live.tag if live else ""

    def held(self) -> AbstractContextManager[None]:
        """Blocks releases during the block.

        Raises:
            ReleaseError: a release is under way; the message names its owner.
        """
        return exclusive(self._settings, "restore")

    def stop(self) -> list[Container]:
        """Stops the API's containers after their open requests; returns all: a killed restore left some stopped."""
        found = self._engine.containers("api")
        self._engine.stop(one for one in found if one.runs)
        return found

    def start(self, containers: list[Container]) -> None:
        """Starts the containers, and waits until all are ready.

        Raises:
            BackupError: one is not within a minute.
        """
        self._engine.start(containers)
        ids = {one.id for one in containers}
        end = time.monotonic() + READY_SECONDS
        while sum(_ready(one) for one in self._engine.containers("api") if one.id in ids) < len(ids):
            if time.monotonic() > end:
                raise BackupError("the API is not ready a minute after its start: `make logs SERVICE=api`")
            time.sleep(0.5)


def _ready(replica: Container) -> bool:
    return bool(replica.address) and get(f"http://{replica.address}:{PORT}/readyz")[0] == 200
