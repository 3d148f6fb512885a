"""The one error that the sandbox shows to people."""


class SandboxError(Exception):
    """What went wrong and what to do, in one line; the command prints it and exits with status 1."""
