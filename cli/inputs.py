"""What people give the verbs, all of it: the variables that the Makefile passes on, and what each may look like.

They end up in command lines, on the host and in Ansible's variables. A value that looks as its row says is none of an
option, a template or a piece of shell, wherever it is put.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cli.errors import VerbError

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
NUMBER = r"[0-9]{1,6}"
PORT = (r"[0-9]{1,5}", "is not a port: set it to a number from 1 to 65535")

# For each: what its whole value matches, and what follows `NAME=value` in the error. Empty is as good as not given.
INPUTS: dict[str, tuple[str, str]] = {
    "V": (r"[01]", "is not known: 1 shows every step's output"),
    "TARGET": (r"sandbox|aws", "is not known: it is `sandbox` (the default) or `aws`"),
    "ENV": (
        r"[a-z][a-z0-9]{1,11}",
        "is no environment's name: give 2 to 12 lower-case letters and digits, such as staging",
    ),
    "PROJECT": (
        r"[a-z](?:[a-z0-9]|-(?!-)){1,18}[a-z0-9]",
        "is no project's name: give 3 to 20 lower-case letters, digits and single hyphens",
    ),
    "TAG": (NAME, "is no image's tag: `make images` lists those in ECR"),
    "TO": (NAME, "is no release: give a number or a tag that `make releases` lists"),
    "FROM": (rf"{NAME}(@{NAME})?", "is no backup's name: `make backups` lists them"),
    "DELETE_DATA": (r"yes|no", "is not known: `yes` deletes the comments and the backups, too"),
    # Any command: it is meant for the host's shell, and is passed on as it is.
    "CMD": (r"[^\0]+", "is no command"),
    "HOST": (NAME, "is no host's name: `make status` lists them"),
    "SERVICE": (r"[a-z][a-z0-9-]*", "is no service's name: give api, edge, prometheus, alertmanager, grafana, …"),
    "LEVEL": (r"debug|info|warning|error", "is not known: it is debug, info, warning or error, and shows all above"),
    "REQUEST": (
        r"[A-Za-z0-9._][A-Za-z0-9._-]{0,127}",
        "is no request's id: replies have it in X-Request-ID, errors in request_id",
    ),
    "SINCE": (
        r"[1-9][0-9]{0,3}[smhd]|[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){1,2}Z?",
        "is no time: give 10m, 2h or 1d, or a moment as 2026-01-31T12:00:00Z",
    ),
    # Any text: it is looked for as it stands.
    "GREP": (r"[^\0\n]+", "is no line of text"),
    "FOLLOW": (r"yes|no", "is not known: `no` ends with the newest line"),
    "EDGE_PORT": PORT,
    "GRAFANA_PORT": PORT,
    "PROMETHEUS_PORT": PORT,
    "ALERTMANAGER_PORT": PORT,
    "GRAFANA_IMAGE": (r"[a-z0-9][A-Za-z0-9._/:@-]*", "is no image's name: give one as grafana/grafana:12.3.1"),
    "WATCH": (NUMBER, "is no number of seconds: give a whole one, 0 or more"),
    "READY": (NUMBER, "is no number of seconds: give a whole one, 0 or more"),
    "TIERS": (r"(check|parts|site)( (check|parts|site))*", "is not known: it is one or more of check, parts and site"),
    "ADDRESS": (r"[0-9]{1,3}(\.[0-9]{1,3}){3}", "is no IPv4 address"),
    "ALERT": (r"[A-Z][A-Za-z]{2,63}", "is no alert's name: `make alerts` lists those that fire"),
    "FOR": (r"0|[1-9][0-9]{0,2}[mhd]", "is no time: give 30m, 2h or 1d; 0 ends a silence"),
    "REBUILD": (r"yes|no", "is not known: `yes` builds the image again, with today's packages of Debian"),
}


def check(environment: Mapping[str, str]) -> None:
    """Looks at every input that is given.

    Raises:
        VerbError: one is not what it may be.
    """
    for name, (pattern, refusal) in INPUTS.items():
        value = environment.get(name, "")
        if value and not re.fullmatch(pattern, value):
            shown = "".join(letter if letter.isprintable() else "?" for letter in value)
            raise VerbError(f"{name}={shown} {refusal}")
