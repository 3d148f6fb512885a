"""The inputs of all verbs: the variables that the Makefile passes on, and the form that each value must have.

Values end up in command lines, on the host and in Ansible's variables. A value of the right form cannot act as an
option, a template or shell code in any of these.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from common.errors import CommandError

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
TIME = r"yesterday|[1-9][0-9]{0,3}[smhd]|[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{3})?)?Z?"
NOT_A_TIME = "is not a time: give 10m, 2h, 1d or yesterday, or a date as in 2026-01-31T12:00:00Z"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
ID = r"[1-9][0-9]{0,17}"
NUMBER = r"[0-9]{1,6}"
PORT = (r"[0-9]{1,5}", "is not a port: set it to a number from 1 to 65535")

# For each input: the pattern of its whole value, and the text after `NAME=value` in the error. Empty means not given.
INPUTS: dict[str, tuple[str, str]] = {
    "V": (r"[01]", "is not valid: 1 shows the output of every step"),
    "TARGET": (r"sandbox|aws", "is not a target: give `sandbox` (the default) or `aws`"),
    "ENV": (r"[a-z][a-z0-9]{1,11}", "is not an environment: give 2 to 12 lower-case letters and digits, as in staging"),
    "PROJECT": (
        r"[a-z](?:[a-z0-9]|-(?!-)){1,18}[a-z0-9]",
        "is not the name of a project: give 3 to 20 lower-case letters, digits and single hyphens",
    ),
    "TAG": (NAME, "is not a valid tag: `make images` lists the tags in ECR"),
    "TO": (
        rf"{NAME}|(/{NAME})+",
        "is not valid: give a release from `make releases`, or to `make move-database` a parameter or sqlite",
    ),
    "FROM": (rf"{NAME}(@{NAME})?", "is not the name of a backup: `make backups` lists them"),
    "DELETE_DATA": (r"yes|no", "is not valid: `yes` also deletes the comments and the backups"),
    # Any command for the host's shell; it is passed on unchanged.
    "CMD": (r"[^\0]+", "is not a command"),
    "HOST": (NAME, "is not the name of a host: `make status` lists them"),
    "SERVICE": (r"[a-z][a-z0-9-]*", "is not a service: give api, edge, prometheus, alertmanager or grafana"),
    "LEVEL": (r"debug|info|warning|error", "is not a level: give debug, info, warning or error"),
    "REQUEST": (r"[A-Za-z0-9._][A-Za-z0-9._-]{0,127}", "is not the id of a request: replies have it in X-Request-ID"),
    "SINCE": (TIME, NOT_A_TIME),
    "UNTIL": (TIME, NOT_A_TIME),
    # Any text; it is searched for literally.
    "GREP": (r"[^\0\n]+", "is not a line of text"),
    "FOLLOW": (r"yes|no", "is not valid: `no` stops at the newest line"),
    "EDGE_PORT": PORT,
    "GRAFANA_PORT": PORT,
    "PROMETHEUS_PORT": PORT,
    "ALERTMANAGER_PORT": PORT,
    "GRAFANA_IMAGE": (r"[a-z0-9][A-Za-z0-9._/:@-]*", "is not an image: give one like grafana/grafana:12.3.1"),
    "WATCH": (NUMBER, "is not a number of seconds: give a whole number, 0 or more"),
    "READY": (NUMBER, "is not a number of seconds: give a whole number, 0 or more"),
    "TIERS": (r"(check|parts|site)( (check|parts|site))*", "is not valid: give one or more of check, parts and site"),
    "ADDRESS": (r"[0-9]{1,3}(\.[0-9]{1,3}){3}", "is not an IPv4 address"),
    "ALERT": (r"[A-Z][A-Za-z]{2,63}", "is not the name of an alert: `make alerts` lists those that fire"),
    "FOR": (r"0|[1-9][0-9]{0,2}[mhd]", "is not a duration: give 30m, 2h or 1d; 0 ends a silence"),
    # Any text, which goes to the host as JSON. Some shells have an EMAIL of their own: only its verb checks the form.
    "THREAD": (r"[^\0]{1,255}", "is not a content_id: it has 1 to 255 characters"),
    "WHY": (r"[^\0\n\r]{1,500}", "is not a reason: give one line of at most 500 characters"),
    "EMAIL": (r"[^\0\n\r]+", "is not an e-mail address"),
    "ID": (rf"{ID}( {ID}){{0,99}}", "is not the id of a comment: `make comments` lists them; several: ID='57 58'"),
    "REBUILD": (r"yes|no", "is not valid: `yes` builds the image again with today's Debian packages"),
}


def check(environment: Mapping[str, str]) -> None:
    """Checks every input that is given.

    Raises:
        CommandError: the form of one is wrong.
    """
    for name, (pattern, refusal) in INPUTS.items():
        value = environment.get(name, "")
        if value and not re.fullmatch(pattern, value):
            shown = "".join(letter if letter.isprintable() else "?" for letter in value)
            raise CommandError(f"{name}={shown} {refusal}")


def parse_time(name: str, given: str) -> datetime:
    """The time that SINCE or UNTIL names: without a zone in UTC, as are days.

    Raises:
        CommandError: there is no such day or hour.
    """
    now = datetime.now(UTC)
    if given == "yesterday":
        return now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    if given[-1] in UNITS:
        return now - timedelta(**{UNITS[given[-1]]: int(given[:-1])})
    try:
        return datetime.fromisoformat(given.removesuffix("Z")).replace(tzinfo=UTC)
    except ValueError as error:
        raise CommandError(f"{name}={given} is not a time: {error}") from None
