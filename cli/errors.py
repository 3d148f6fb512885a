"""The one error that a verb shows to people."""


class VerbError(Exception):
    """What went wrong and what to do, in one line; the command prints it and exits with status 1."""
