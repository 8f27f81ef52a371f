"""Which file systems are refused, by what the kernel says is mounted."""

from pathlib import Path

import pytest

from node.spool.mounts import network_file_system

MOUNTS = r"""24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 24 0:26 / /mnt/nas rw,relatime shared:9 - nfs4 nas:/export rw,vers=4.2
32 24 0:27 / /mnt/with\040space rw - cifs //nas/share rw
33 31 0:28 / /mnt/nas/disk rw - xfs /dev/vdb rw
34 24 0:29 / /home rw - fuse.sshfs x:/ rw
35 34 0:30 / /home rw master:1 - tmpfs tmpfs rw
36 24 0:31 / /mnt/nas2 rw - ext4 /dev/vdc rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/radnode", None),
        ("/mnt/nas", "nfs4"),
        ("/mnt/nas/radnode/data", "nfs4"),
        ("/mnt/nas/disk/data", None),
        ("/mnt/nas2/data", None),
        ("/mnt/with space/data", "cifs"),
        ("/home/radnode", None),
        ("/mnt/nas/disk/../data", "nfs4"),
    ],
)
def test_the_deepest_mount_decides(path, kind):
    assert network_file_system(Path(path), MOUNTS) == kind


def test_this_machine_is_understood(tmp_path):
    assert network_file_system(tmp_path, Path("/proc/self/mountinfo").read_text()) is None
