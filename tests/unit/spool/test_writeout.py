"""That writing begins early is seen in the kernel's own account of the pages that wait for it."""

import ctypes
import os
from pathlib import Path

import pytest

from node.spool.incoming import Incoming
from node.spool.writeout import begin_writeout

SIZE = 4 << 20
CACHESTAT = 451  # cachestat(2), since Linux 6.5


class Span(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class Pages(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently_evicted"))


def waiting(path: Path) -> int:
    """Bytes of a file with which the disk has not begun."""
    found = Pages()
    with path.open("rb") as file:
        if ctypes.CDLL(None).syscall(CACHESTAT, file.fileno(), ctypes.byref(Span(0, 0)), ctypes.byref(found), 0):
            pytest.skip("this kernel does not tell which pages of a file wait")
    return found.dirty * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def folder(tmp_path):
    """A folder on a disk."""
    path = tmp_path / "probe"
    with path.open("wb") as file:
        file.write(bytes(SIZE))
        file.flush()
        os.fsync(file.fileno())
    if waiting(path):
        pytest.skip("temporary files lie in memory here, and wait for no disk")
    return tmp_path


def test_what_was_written_waits_no_longer(folder):
    path = folder / "file"
    with path.open("wb", buffering=0) as file:
        file.write(bytes(SIZE))
        assert waiting(path) > 0
        begin_writeout(file.fileno())
        assert waiting(path) == 0


def test_an_instance_on_its_way_in_does_not_wait(folder):
    incoming = Incoming(folder / "slot", bytes(500))
    incoming.write(memoryview(bytes(SIZE)))
    assert waiting(folder / "slot") == 0
    incoming.discard()


def test_small_pieces_wait_for_each_other(folder):
    incoming = Incoming(folder / "slot", bytes(500))
    incoming.write(memoryview(bytes(1 << 16)))
    assert waiting(folder / "slot") > 0
    incoming.write(memoryview(bytes(1 << 16)))
    assert waiting(folder / "slot") == 0
    incoming.discard()
