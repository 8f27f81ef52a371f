"""Who holds a lease: a name that tells, on the same machine, whether its process still lives."""

from __future__ import annotations

import os
import platform
import uuid
from pathlib import Path


def new_identity() -> str:
    """Name this process: host, boot, process name space, process, and a part that no other has.

    Process numbers come again after a boot, and mean something else in another container; hence the two parts between.
    """
    return "/".join((*machine(), str(os.getpid()), uuid.uuid4().hex[:8]))


def is_gone(identity: str) -> bool:
    """Whether ``identity`` belongs to a process of this machine that no longer exists. False when that cannot be known from here."""
    host, _, rest = identity.partition("/")
    parts = rest.split("/")
    if len(parts) < 4 or (host, parts[0], parts[1]) != machine() or not parts[2].isdecimal():
        return False
    return not Path(f"/proc/{parts[2]}").exists()


def machine() -> tuple[str, str, str]:
    """Where this process runs: host name, boot, process name space."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
    return platform.node()[:64].replace("/", "_"), boot, str(Path("/proc/self/ns/pid").stat().st_ino)
