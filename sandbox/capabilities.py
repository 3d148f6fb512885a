"""The capabilities of a host: all that this machine has, except one.

Engines differ. With `--cap-add ALL`, 20.10 fails to start the container if the machine lacks a capability. Later
engines name the capability that they do not know or cannot grant.
"""

import re
from pathlib import Path

from common.docker import docker
from common.errors import CommandError

# In the order of include/uapi/linux/capability.h.
NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
# Some machines lack it, CI's among them. Hosts never have it, so that they behave the same on every machine.
WITHHELD = {"SYS_RESOURCE"}
REFUSED = re.compile(r"invalid Cap(?:Add|Drop): .*?\b(?:CAP_)?([A-Z_]+)\"?\s*$", re.MULTILINE)


def bounding(status: Path = Path("/proc/1/status")) -> list[str]:
    """The capabilities that processes on this machine can have; all if that is unknown.

    The first process has them all. This process may have fewer: it may run in a container (`./tools`).
    """
    try:
        mask = int(re.search(r"^CapBnd:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE)[1], 16)  # type: ignore[index]
    except (OSError, TypeError):
        # Not Linux: the engine runs in a virtual machine and refuses what it cannot grant.
        return list(NAMES)
    return [name for number, name in enumerate(NAMES) if mask >> number & 1]


def create(*arguments: str) -> None:
    """``docker create`` with all capabilities of machine and engine, except those in WITHHELD.

    Raises:
        CommandError: the engine refuses for another reason.
    """
    wanted = [name for name in bounding() if name not in WITHHELD]
    while True:
        given = [part for name in wanted for part in ("--cap-add", name)]
        try:
            docker("create", *given, *arguments)
            return
        except CommandError as error:
            refused = REFUSED.search(str(error))
            if not refused or refused[1] not in wanted:
                raise
            # The engine is on another machine, or too old for the capability.
            wanted.remove(refused[1])
