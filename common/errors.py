"""The one error that people see, and the line of a program's output that goes into it."""


class CommandError(Exception):
    """What went wrong and what to do, in one line. The command prints it and exits with status 1."""


def last_line(output: str, otherwise: str = "no output") -> str:
    """The line of a failed program's output that says why."""
    return (output.strip().splitlines() or [otherwise])[-1].strip()
