"""On a disk that is full nothing is kept and nothing is left behind."""

import os
import subprocess

import pytest

from node.core.errors import NotEnoughDisk
from node.spool.local import LocalSpool

SIZE = 256 * 1024


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with very little room; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], check=False, capture_output=True).returncode
    ):
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def everything(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")


def test_what_does_not_fit_is_refused_and_leaves_nothing(small_disk):
    with LocalSpool(small_disk / "spool", "listen") as spool:
        with pytest.raises(NotEnoughDisk, match=r"No space left on device.*send again") as caught:
            spool.put_atomic("a/big", bytes(2 * SIZE))
        assert caught.value.status == 0xA700
        assert everything(small_disk) == []
        assert spool.free_bytes() > SIZE // 2, "the room is free again"


def test_what_fits_is_still_taken_afterwards(small_disk):
    with LocalSpool(small_disk / "spool", "listen") as spool:
        with pytest.raises(NotEnoughDisk):
            spool.put_atomic("big", bytes(SIZE // 2), bytes(SIZE))
        spool.put_atomic("small", b"x").settle()
        assert everything(small_disk) == ["spool/small"]


def test_filling_it_to_the_brim_keeps_every_file_that_was_answered_for(small_disk):
    with LocalSpool(small_disk / "spool", "listen") as spool:
        kept = []

        def fill():
            for number in range(1000):
                spool.put_atomic(f"{number % 7}/{number}", bytes([number % 256]) * 3000).settle()
                kept.append(number)

        with pytest.raises(NotEnoughDisk):
            fill()
        assert len(kept) > 10
        assert all(spool.path(f"{number % 7}/{number}").read_bytes() == bytes([number % 256]) * 3000 for number in kept)
        assert len(everything(small_disk)) == len(kept)


def test_a_full_disk_does_not_harm_the_file_that_is_there_already(small_disk):
    with LocalSpool(small_disk / "spool", "listen") as spool:
        spool.put_atomic("a", b"held").settle()
        with pytest.raises(NotEnoughDisk):
            spool.put_atomic("a", bytes(2 * SIZE))
        assert spool.path("a").read_bytes() == b"held"
