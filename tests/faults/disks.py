"""Small disks, that tests fill and make read-only under a running node."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers import missing

MB = 1_000_000


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


class Disk:
    """A file system in memory, mounted at ``folder``."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self._size = folder, size

    def mount(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", f"size={self._size}", "radnode-test", str(self.folder))

    def resize(self, size: int) -> None:
        _mount("-o", f"remount,size={size}", str(self.folder))

    def free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Make every path on it read-only.

        By a second mount over the first: the kernel does not remount a disk on which files are open for writing, as a node's locks are.
        What was opened before can still be written.
        """
        aside = self.folder.with_name(f"{self.folder.name}-read-only")
        aside.mkdir(exist_ok=True)
        _mount("--bind", str(self.folder), str(aside))
        _mount("-o", "remount,bind,ro", str(aside))
        _mount("--bind", str(aside), str(self.folder))
        try:
            yield
        finally:
            self._unmount(self.folder)
            self._unmount(aside)

    def close(self) -> None:
        while os.path.ismount(self.folder):
            self._unmount(self.folder)

    def _unmount(self, folder: Path) -> None:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Disk]:
    """A disk of ``size`` bytes; skips the test where nothing may be mounted."""
    disk = Disk(folder, size)
    try:
        disk.mount()
    except (OSError, subprocess.CalledProcessError) as error:
        missing(f"no file system can be mounted here ({type(error).__name__}): it takes root")
    try:
        yield disk
    finally:
        disk.close()
