"""The frames of a stored binary Segmentation, unpacked from its bytes.

Written apart from the library that packed them, so that one mistake cannot hide in both (PS3.5 section 8.1.1 and Annex D:
bits are packed without padding between frames, the first pixel in the least significant bit).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from node.encode.place import Place, place_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame, as its functional groups describe it (PS3.3 C.7.6.16).

    Attributes
    ----------
    index : int
        From 0.
    segment_number : int
        Referenced Segment Number (0062,000B).
    source : tuple of str and int
        The place in the source that it lies on, see `node.encode.place`; without an instance when it names none, or more than one.
    position : tuple of float or None
        Image Position (Patient) of the frame, LPS millimetres.
    """

    index: int
    segment_number: int
    source: Place
    position: tuple[float, ...] | None


def list_frames(segmentation: Dataset) -> Iterator[Frame]:
    """List the frames in the order in which they are stored.

    A functional group that is the same for all frames may stand among the shared ones (PS3.3 C.7.6.16.1.1).
    """
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    for index, groups in enumerate(segmentation.PerFrameFunctionalGroupsSequence):
        sources = {
            place_of(image)
            for derivation in groups.get("DerivationImageSequence", [])
            for image in derivation.get("SourceImageSequence", [])
        }
        planes = groups.get("PlanePositionSequence") or shared.get("PlanePositionSequence")
        segments = groups.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence
        yield Frame(
            index=index,
            segment_number=int(segments[0].ReferencedSegmentNumber),
            source=sources.pop() if len(sources) == 1 else ("", 0),
            position=tuple(float(value) for value in planes[0].ImagePositionPatient) if planes else None,
        )


def unpack_frame(segmentation: Dataset, index: int) -> NDArray[np.bool_]:
    """Unpack one frame: array of shape (row, column).

    Raises
    ------
    ValueError
        When the pixel data end before the frame does.
    """
    rows, columns = int(segmentation.Rows), int(segmentation.Columns)
    start, length = index * rows * columns, rows * columns
    first, last = start // 8, -(-(start + length) // 8)
    packed = np.frombuffer(segmentation.PixelData, dtype=np.uint8)[first:last]
    bits = np.unpackbits(packed, bitorder="little")[start - 8 * first :][:length]
    if bits.size != length:
        raise ValueError("the pixel data are too short for the number of frames")
    return np.asarray(bits.reshape(rows, columns), dtype=np.bool_)
