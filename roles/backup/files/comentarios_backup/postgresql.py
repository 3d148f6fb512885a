"""PostgreSQL: pg_dump, and a restored database that takes the name of the live one."""

import os
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from .settings import BackupError

# Each host has its own, since only the programs of one host wait for each other.
BESIDE = f"comentarios_restoring_{socket.gethostname()}"[:63]
# Adds the live audit log's entries that the restored one lacks (api/comentarios/storage). done_ms, the last column, is
# 0 until the entry is done: the API applies it before it serves.
CARRIED = """SET client_min_messages = warning;
CREATE TABLE IF NOT EXISTS audit (id bigint PRIMARY KEY, who text NOT NULL, action text NOT NULL,
    subject text NOT NULL, comments bigint NOT NULL, why text NOT NULL, done_ms bigint NOT NULL);
CREATE TEMPORARY TABLE carried (LIKE audit);
COPY carried FROM STDIN;
{}\\.
INSERT INTO audit (id, who, action, subject, comments, why, done_ms) SELECT * FROM carried ON CONFLICT DO NOTHING;
"""


class Postgresql:
    """The database of a libpq URL. Its user must own it, and needs CREATEDB for a restore."""

    suffix = ".pgdump.gz"

    def __init__(self, url: str):
        self._url = url
        self._name = unquote(urlsplit(url).path.lstrip("/"))
        # Copies belong to root: the server is accessed over the network.
        self.user = os.geteuid()

    def dump(self, copy: Path) -> None:
        """Raises BackupError if pg_dump fails, with its last line."""
        # Not compressed here: the file is compressed later, like SQLite's.
        self._run("pg_dump", "--format=custom", "--compress=0", "--no-owner", f"--file={copy}", self._url)

    def check(self, copy: Path) -> int:
        """Restores a copy into a temporary database, which ``swap`` uses; returns its number of comments.

        Raises:
            BackupError: it is corrupt, or no database of comments.
        """
        listed = self._run("pg_restore", "--list", str(copy))
        if " TABLE public comments " not in listed:
            raise BackupError("this is another kind of database: it has no table of comments like the API's")
        self._sql("postgres", f'DROP DATABASE IF EXISTS "{BESIDE}"')
        self._sql("postgres", f'CREATE DATABASE "{BESIDE}"')
        # pg_restore 17 always sets this, but servers before 17 do not know it.
        command = ("pg_restore", "--no-owner", f"--dbname={self._other(BESIDE)}", str(copy))
        self._run(*command, tolerated='unrecognized configuration parameter "transaction_timeout"')
        return int(self._sql(BESIDE, "SELECT count(*) FROM comments"))

    def forget(self) -> None:
        """Removes the temporary database unless it is live."""
        self._sql("postgres", f'DROP DATABASE IF EXISTS "{BESIDE}"')

    def count(self) -> int:
        """The current number of comments. First undoes the swap of a restore that was killed."""
        if self._exists(self._name):
            self._allow_connections(self._name, True)
        else:
            kept = f"SELECT max(datname) FROM pg_database WHERE datname LIKE '{self._kept('%')}'"
            self.swap_back(self._sql("postgres", kept))
        return int(self._sql(self._name, "SELECT count(*) FROM comments"))

    def name_kept(self) -> str:
        """A new name for the database that a restore replaces."""
        return self._kept(int(time.time()))

    def _kept(self, when: object) -> str:
        return f"{self._name}_before_{when}"

    def swap(self, _: Path, kept: str) -> bool:
        """Renames the old database to ``kept`` and the restored one to the live name, for all hosts."""
        self._carry_over()
        self._allow_connections(self._name, False)
        try:
            self._end_connections(self._name)
            self._rename(self._name, kept)
        except BackupError:
            self._allow_connections(self._name, True)
            raise
        self._rename(BESIDE, self._name)
        self._allow_connections(kept, True)
        return True

    def swap_back(self, kept: str) -> None:
        """Undoes ``swap``, even an interrupted one."""
        if self._exists(kept):
            if self._exists(self._name):
                self._end_connections(self._name)
                self._rename(self._name, BESIDE)
            self._rename(kept, self._name)
        self._allow_connections(self._name, True)

    def _carry_over(self) -> None:
        if self._sql(self._name, "SELECT to_regclass('public.audit')"):
            copied = "COPY (SELECT id, who, action, subject, 0, why, 0 FROM audit) TO STDOUT"
            self._psql(BESIDE, given=CARRIED.format(self._psql(self._name, f"--command={copied}")))

    def _exists(self, name: str) -> bool:
        return bool(self._sql("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{name}'"))

    def _rename(self, name: str, other: str) -> None:
        self._sql("postgres", f'ALTER DATABASE "{name}" RENAME TO "{other}"')

    def _allow_connections(self, name: str, allowed: bool) -> None:
        self._sql("postgres", f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {str(allowed).lower()}')

    def _end_connections(self, name: str) -> None:
        self._sql("postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    def _other(self, name: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{name}"))

    def _sql(self, database: str, statement: str) -> str:
        return self._psql(database, f"--command={statement}").strip()

    def _psql(self, database: str, *options: str, given: str = "") -> str:
        command = ("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        return self._run(*command, *options, self._other(database), given=given)

    def _run(self, *command: str, tolerated: str = "", given: str = "") -> str:
        # The URL contains the password, which must not appear in the process list. libpq takes a URL only as an
        # argument, so the password is passed in PGPASSWORD and removed from messages.
        password = unquote(urlsplit(self._url).password or "")
        shown = [part.replace(f":{urlsplit(self._url).password}@", "@") if password else part for part in command]
        environment = {**os.environ, "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "10", "LC_ALL": "C.UTF-8"}
        try:
            done = subprocess.run(
                shown, env=environment, input=given, capture_output=True, text=True, timeout=3600, check=False
            )
        except FileNotFoundError:
            raise BackupError(f"{command[0]} is not installed: run `ansible-playbook site.yml --tags backup`") from None
        said = done.stderr.strip().splitlines()
        errors = [line for line in said if "error:" in line.lower()]
        if done.returncode and not (tolerated and errors and all(tolerated in line for line in errors)):
            raise BackupError(f"{command[0]} failed: {(errors or said[-1:] or ['no output'])[0]}")
        return done.stdout
