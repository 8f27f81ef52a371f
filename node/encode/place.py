"""Which slice a reference to a source image means: an instance, and in a multi-frame instance one of its frames."""

from __future__ import annotations

from itertools import repeat

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pipelines.geometry import Grid

#: SOP Instance UID and frame number, from 1 (PS3.3 C.7.6.6); 0 for a classic instance.
Place = tuple[str, int]


def list_places(grid: Grid) -> list[Place]:
    """List the places of a grid's slices, in slice order."""
    return list(zip(grid.sop_instance_uids, grid.frame_numbers or repeat(0), strict=False))


def place_of(reference: Dataset) -> Place:
    """Read an item of the Image SOP Instance Reference Macro (PS3.3 Table 10-3); one that names several frames is no place."""
    frames = reference.get("ReferencedFrameNumber")
    if isinstance(frames, MultiValue):
        return "", 0
    return str(reference.ReferencedSOPInstanceUID), int(frames or 0)
