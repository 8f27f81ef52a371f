"""Where a DICOM file (PS3.10 section 7.1) ends to speak of itself, and its data set begins."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_PREFIX_END = 132
_HEADER = 8  # of an element: tag, VR, length
#: The File Meta Information of real files is below one kilobyte.
_MOST = 1 << 16
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})

_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX = 0x0002, 0x0003, 0x0010


class NoFileMeta(Exception):
    """This is no DICOM file, or one that says nothing of itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMeta:
    """What the File Meta Information says of the data set behind it; a UID that it does not give is empty."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    transfer_syntax_uid: str = ""


def find_data_set(front: bytes | bytearray) -> int | None:
    """Where the data set begins.

    Parameters
    ----------
    front : bytes
        A file as far as it has come.

    Returns
    -------
    int or None
        An offset into ``front``; None while it is not in there yet.

    Raises
    ------
    NoFileMeta
        If there is none, or one that is longer than any can be.
    """
    if not b"DICM".startswith(front[128:_PREFIX_END]):
        raise NoFileMeta
    place = _PREFIX_END
    for *_, end in _elements(front):
        place = end
    if place > _PREFIX_END + _MOST:
        raise NoFileMeta
    if place + _HEADER > len(front) or _is_element(front, place):
        return None
    if place == _PREFIX_END:
        raise NoFileMeta
    return place


def read_file_meta(front: bytes | bytearray) -> FileMeta:
    """Read the File Meta Information; ``front`` is a file as far as ``find_data_set`` has told."""
    uids = {
        element: front[start:end].decode("ascii", "replace").rstrip("\0 ") for element, vr, start, end in _elements(front) if vr == b"UI"
    }
    return FileMeta(
        sop_class_uid=uids.get(_SOP_CLASS, ""),
        sop_instance_uid=uids.get(_SOP_INSTANCE, ""),
        transfer_syntax_uid=uids.get(_TRANSFER_SYNTAX, ""),
    )


def _elements(front: bytes | bytearray) -> Iterator[tuple[int, bytes, int, int]]:
    """Walk over group 0002: each element, its VR, and where its value begins and ends.

    The group length (0002,0000) is not asked: some files have none, and in some it is wrong.
    """
    place = _PREFIX_END
    while place + _HEADER <= len(front) and _is_element(front, place):
        _, element, vr, length = struct.unpack_from("<HH2sH", front, place)
        place += _HEADER
        if vr in _LONG_VRS:
            if place + 4 > len(front):
                return
            length = struct.unpack_from("<I", front, place)[0]
            place += 4
        yield element, vr, place, place + length
        place += length


def _is_element(front: bytes | bytearray, place: int) -> bool:
    """Whether an element of group 0002 is here: Explicit VR Little Endian always, as nothing that follows begins, deflated or not."""
    return front[place : place + 2] == b"\x02\x00" and front[place + 4 : place + 6].isalpha()
