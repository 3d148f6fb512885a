"""Exit with 0 if /readyz of this container answers 200. A script that imports nothing of the application."""

import os
import socket
import sys


def main() -> int:
    port = int(os.environ.get("PORT") or 8000)
    request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
            connection.sendall(request)
            reply = b""
            while chunk := connection.recv(4096):
                reply += chunk
    except OSError as error:
        print(f"no answer on port {port}: {error}")
        return 1
    print(reply.partition(b"\r\n\r\n")[2].decode(errors="replace"))
    return 0 if b" 200 " in reply.partition(b"\r\n")[0] else 1


if __name__ == "__main__":
    sys.exit(main())
