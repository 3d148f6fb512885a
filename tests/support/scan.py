"""Which TCP ports of a host answer: `python -m tests.support.scan ADDRESS` prints those that do, as JSON."""

from __future__ import annotations

import asyncio
import json
import resource
import sys

# Seconds: long enough for the kernel to ask twice.
WAIT = 1.5
SILENT, REFUSED, OPEN = "silent", "refused", "open"
SOCKETS = 2500


def main(address: str) -> None:
    """Prints how many ports were asked, and the answer of each that is not silent."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(SOCKETS + 500, most), most))
    answers = asyncio.run(_scan(address))
    print(json.dumps([len(answers), {port: answer for port, answer in answers.items() if answer != SILENT}]))


async def _scan(address: str) -> dict[int, str]:
    ports = iter(range(1, 65536))
    answers = {}
    # Nearly all of the time is waiting for ports that say nothing.
    sockets = min(SOCKETS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)

    async def work(number: int) -> None:
        # One after the other: begun all at once, the first ones' time is over before the last one is begun.
        await asyncio.sleep(number * WAIT / sockets)
        for port in ports:
            answers[port] = await knock(address, port)

    await asyncio.gather(*(work(number) for number in range(sockets)))
    return answers


async def knock(address: str, port: int) -> str:
    """The answer of one port: SILENT, REFUSED or OPEN."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), WAIT)
    except TimeoutError:
        return SILENT
    except ConnectionRefusedError:
        return REFUSED
    writer.close()
    return OPEN


if __name__ == "__main__":
    main(sys.argv[1])
