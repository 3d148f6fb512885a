"""TCP ports of this machine, which variables choose."""

import socket

from common.errors import CommandError


def number(variable: str, text: str) -> int:
    """The port that a variable names.

    Raises:
        CommandError: it is none.
    """
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise CommandError(f"{variable}={text} is not a port: set it to a number from 1 to 65535")
    return int(text)


def require_free(address: str, port: int, variable: str) -> None:
    """Checks that nothing listens on a port.

    Raises:
        CommandError: something does, or this process may not listen there.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise CommandError(
                f"port {port} of {address} is in use ({error.strerror}): set {variable} to a free port"
            ) from None
