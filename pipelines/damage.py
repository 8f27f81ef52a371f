"""Files that are no DICOM, or hold values that are none: refused in one place, wherever pydicom stumbles over them.

pydicom decodes an element when it is first looked at, so damage shows itself late, and by many exceptions.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.errors import BytesLengthException, InvalidDicomError

from pipelines.errors import UnsupportedPixelData

#: What pydicom raises for bytes that are no DICOM, and for bytes that are no value of their VR; several values where one is due
#: make a TypeError.
DAMAGE = (BytesLengthException, InvalidDicomError, EOFError, OSError, LookupError, NotImplementedError, TypeError, ValueError, struct.error)


@contextmanager
def damage_refused() -> Iterator[None]:
    """Turn pydicom's exceptions into the refusal of the input; use it around a block or as a decorator.

    Raises
    ------
    UnsupportedPixelData
        reason ``unreadable``; the sentence names the kind of damage, never the value.
    """
    try:
        yield
    except DAMAGE as error:
        raise UnsupportedPixelData(f"An instance is damaged or no DICOM ({type(error).__name__}).", reason="unreadable") from error
