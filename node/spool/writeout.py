"""Have the kernel begin to write while we go on computing."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_SYNC_FILE_RANGE_WRITE = 2  # sync_file_range(2)


def _find() -> Callable[..., int] | None:
    """The call of the C library, which Python does not offer; None where there is none."""
    found = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if found is not None:
        found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return found


_sync_file_range = _find()


def begin_writeout(file: int) -> None:
    """Have what was written to a file go to the disk from now on, and wait for none of it.

    It promises nothing: what makes the file durable, and tells of an error, is the fsync that follows, which then has less to wait for.
    """
    if _sync_file_range is not None:
        _sync_file_range(file, 0, 0, _SYNC_FILE_RANGE_WRITE)
