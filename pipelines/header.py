"""Headers within bounds: what an instance says before its pixels fits into the memory, whoever made it.

pydicom keeps everything that it reads. A deflated megabyte can hold a gigabyte (PS3.5 Annex A.5), and eight bytes of a data set can be an
element that takes hundreds.
"""

from __future__ import annotations

import io
import zlib
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from pipelines.errors import UnsupportedPixelData

#: Deflated Explicit VR Little Endian, and the two JPIP syntaxes whose data set is deflated in the same way.
_DEFLATED = (b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.4.95", b"1.2.840.10008.1.2.4.205")
#: What a deflated instance may hold. Images of this size are sent compressed frame by frame.
MOST_INFLATED = 1 << 28
#: What may stand before the pixels; ten thousand functional groups take ten megabytes.
MOST_HEADER = 1 << 25
#: Where the File Meta Information of a file that has its preamble tells its own length (PS3.10 section 7.1), and where it begins to count.
_LENGTH, _COUNTED_FROM = slice(140, 144), 144
_STEP = 1 << 20


class _Bounded(io.BufferedReader):
    """A file of which only so much may be read; what is skipped costs nothing."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(path.open("rb", buffering=0))
        self._left = most

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, while there is something left to be read."""
        got = super().read(size)
        self._left -= len(got)
        if self._left < 0:
            raise UnsupportedPixelData("An instance has more before its pixels than any header holds.", reason="unreadable")
        return got


def read_header(path: Path, most: int = MOST_HEADER) -> Dataset:
    """Read a data set up to its pixels, and no more than ``most`` bytes of it.

    Raises
    ------
    UnsupportedPixelData
        reason ``unreadable``: there is more, or it is deflated and unpacks to more than any instance holds.
    Exception
        What pydicom raises at a file that is damaged or no DICOM.
    """
    refuse_bomb(path)
    with _Bounded(path, most) as file:
        return dcmread(file, stop_before_pixels=True)


def refuse_bomb(path: Path) -> None:
    """Unpack a deflated file once, without keeping anything of it, and refuse it when it does not end.

    Raises
    ------
    UnsupportedPixelData
        reason ``unreadable``: it holds more than ``MOST_INFLATED``, or is damaged.
    """
    with path.open("rb") as file:
        head = file.read(1024)
        if not any(syntax in head for syntax in _DEFLATED):
            return
        file.seek(_COUNTED_FROM + int.from_bytes(head[_LENGTH], "little"))
        inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        pending = file.read(_STEP)
        while pending and not inflater.eof:
            try:
                total += len(inflater.decompress(pending, _STEP))
            except zlib.error as error:
                raise UnsupportedPixelData("A deflated instance is damaged.", reason="unreadable") from error
            if total > MOST_INFLATED:
                raise UnsupportedPixelData(
                    f"A deflated instance holds more than {MOST_INFLATED >> 20} MiB; send it uncompressed.", reason="unreadable"
                )
            pending = inflater.unconsumed_tail or file.read(_STEP)
        if not inflater.eof:
            raise UnsupportedPixelData("A deflated instance is cut short.", reason="unreadable")
