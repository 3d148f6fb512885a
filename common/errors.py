"""The one error that people see."""


class CommandError(Exception):
    """What went wrong and what to do, in one line. The command prints it and exits with status 1."""
