"""The capabilities that a host gets: what this machine has, by name, but the one that no host may count on.

Engines differ. 20.10 takes `--cap-add ALL`, and the container does not start where the machine lacks one; later ones
refuse by name what they do not know or cannot give.
"""

from __future__ import annotations

import re
from pathlib import Path

from sandbox.docker import docker
from sandbox.errors import SandboxError

# By number, as in the kernel's include/uapi/linux/capability.h.
NAMES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
    *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
    *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
    *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
    *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
    "CHECKPOINT_RESTORE",
)
# Some machines lack it, CI's among them; no host has it anywhere, so that what works on one machine works on all.
WITHHELD = {"SYS_RESOURCE"}
REFUSED = re.compile(r"invalid Cap(?:Add|Drop): .*?\b(?:CAP_)?([A-Z_]+)\"?\s*$", re.MULTILINE)


def bounding(status: Path = Path("/proc/1/status")) -> list[str]:
    """The names of the capabilities that processes of this machine can have; all where that cannot be read.

    The first process has them all; this one may be in a container, which sees the machine's processes (`./tools`).
    """
    try:
        mask = int(re.search(r"^CapBnd:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE)[1], 16)  # type: ignore[index]
    except (OSError, TypeError):
        # No Linux: the engine is in a virtual machine, and says what it cannot give.
        return list(NAMES)
    return [name for number, name in enumerate(NAMES) if mask >> number & 1]


def create(*arguments: str) -> None:
    """``docker create`` with all capabilities that machine and engine have, but those that are withheld.

    Raises:
        SandboxError: the engine refuses for another reason.
    """
    wanted = [name for name in bounding() if name not in WITHHELD]
    while True:
        given = [part for name in wanted for part in ("--cap-add", name)]
        try:
            docker("create", *given, *arguments)
            return
        except SandboxError as error:
            refused = REFUSED.search(str(error))
            if not refused or refused[1] not in wanted:
                raise
            # The engine is elsewhere, or older than a capability.
            wanted.remove(refused[1])
