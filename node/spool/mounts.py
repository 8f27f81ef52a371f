"""What kind of file system a path lies on."""

from __future__ import annotations

import re
from pathlib import Path

#: Types, as the kernel names them, whose files lie on another machine: locks and fsync may mean less there than they say.
_NETWORK = frozenset(
    (
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "fuse.ceph",
        "fuse.cephfs",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.goofys",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "pvfs2",
        "smb3",
        "smbfs",
        "wekafs",
    )
)


def network_file_system(path: Path, mounts: str) -> str | None:
    """The type of the network file system on which ``path`` lies, or would lie; None when it is on a local one.

    Parameters
    ----------
    mounts : str
        ``/proc/self/mountinfo`` (proc(5)).
    """
    where, found = path.resolve(), ""
    deepest = -1
    for line in mounts.splitlines():
        before, _, behind = line.partition(" - ")
        mount = Path(_unescape(before.split()[4]))
        if where.is_relative_to(mount) and len(mount.parts) >= deepest:  # the later of two at one place hides the earlier
            deepest, found = len(mount.parts), behind.split()[0]
    return found if found in _NETWORK else None


def _unescape(name: str) -> str:
    """Spaces and the like stand as octal numbers."""
    return re.sub(r"\\(\d{3})", lambda number: chr(int(number[1], 8)), name)
