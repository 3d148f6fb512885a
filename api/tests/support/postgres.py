"""A real PostgreSQL server for tests and proofs, from Debian's package, on a free port."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import uuid
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import psycopg
from servers import free_port

from common import apt


class Postgres:
    """One cluster in a temporary folder; `url` names its maintenance database.

    network: an address and the network around it that may connect, with the password.
    namespace: the network namespace that it runs in, and listens to all of; otherwise it listens to that address.
    """

    def __init__(self, network: IPv4Interface | None, namespace: str | None, port: int = 0):
        self._programs = _programs() or _install()
        # The server refuses to run as root. The folder must be reachable for its user: pytest's are not.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="comentarios-postgres-", dir="/var/tmp"))
        if self._user:
            owner = pwd.getpwnam(self._user)
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        self._network, self._namespace = network, namespace
        self.port = port or free_port()
        self.url = f"postgresql://comentarios@127.0.0.1:{self.port}/postgres"
        self.password = secrets.token_hex(16)

    @classmethod
    def create(cls, network: IPv4Interface | None = None, namespace: str | None = None) -> "Postgres":
        """Make a cluster and start it. Installs the package when root on Debian or Ubuntu."""
        server = cls(network, namespace)
        server._run("initdb", "-D", str(server._folder / "data"), "-U", "comentarios", "-A", "trust", "-E", "UTF8")
        if network:
            with open(server._folder / "data" / "pg_hba.conf", "a") as rules:
                rules.write(f"host all all {network.network} scram-sha-256\n")
        server.start()
        if network:
            server.execute(f"ALTER USER comentarios PASSWORD '{server.password}'")
            server.execute("CREATE DATABASE comentarios")
        return server

    def replica(self, namespace: str) -> "Postgres":
        """A streaming replica, with the same password and port."""
        server = Postgres(self._network, namespace, self.port)
        server.password = self.password
        source = ("-h", str(self._folder), "-p", str(self.port), "-U", "comentarios")
        server._run("pg_basebackup", *source, "-D", str(server._folder / "data"), "-R", "-c", "fast")
        server.start()
        return server

    def promote(self) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "promote")

    @property
    def network_url(self) -> str:
        """How the network reaches a database of its own, password included."""
        assert self._network
        return f"postgresql://comentarios:{self.password}@{self._network.ip}:{self.port}/comentarios"

    def start(self) -> None:
        addresses = ["127.0.0.1"] + ([str(self._network.ip)] if self._network else [])
        if self._namespace:
            addresses = ["*"]
        options = f"-p {self.port} -c listen_addresses={','.join(addresses)} -k {self._folder} -c fsync=off"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-o", options, "-l", log, "start")

    def stop(self) -> None:
        """At once, as when its machine goes away."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        if (self._folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self._folder)

    def new_database(self) -> str:
        """A URL that leads to an empty schema of its own: as good as a database, and made in no time."""
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE SCHEMA {name}")
        return f"{self.url}?options=-csearch_path%3D{name}"

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """By its socket, which is there in every network namespace."""
        where = f"host={self._folder} port={self.port} user=comentarios dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _run(self, program: str, *arguments: str) -> None:
        command, user = [str(self._programs / program), *arguments], self._user
        if self._namespace:
            # Only root enters a namespace.
            as_user = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
            command, user = ["nsenter", f"--net=/run/netns/{self._namespace}", *as_user, *command], None
        # Output to a file: the server that pg_ctl starts would hold a pipe open.
        with open(self._folder.parent / f"{self._folder.name}.out", "w+b") as output:
            os.unlink(output.name)
            done = subprocess.run(
                command,
                user=user,
                group=user,
                extra_groups=[] if user else None,
                cwd=self._folder,
                stdout=output,
                stderr=output,
            )
            output.seek(0)
            if done.returncode:
                raise RuntimeError(f"{program} failed: {output.read().decode()[-500:]}")


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return found[-1].parent if found else None


def _install() -> Path:
    """As Debian's postgresql-common advises: no cluster of the system's own is made or started."""
    apt.install("postgresql-common")
    with open("/etc/postgresql-common/createcluster.conf", "a") as configuration:
        configuration.write("create_main_cluster = false\n")
    apt.install("postgresql")
    programs = _programs()
    assert programs, "the package postgresql holds no server"
    return programs
