"""What must be true of an outline in a stored report: it encloses the largest region of its segment in the slice that it names."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy import ndimage

from node.encode.content import name_of, number_of, values_of
from node.encode.frames import list_frames, unpack_frame
from node.encode.gate_numbers import ROUNDING
from node.encode.place import place_of
from pipelines.result import Inference


def check_outline(content: list[Dataset], segmentation: Dataset, inference: Inference) -> Iterator[str]:
    """Compare a TID 1410 group with the stored segment: the outline must enclose its largest region in the slice it names."""
    regions = [item for item in content if item.ValueType == "SCOORD"]
    if len(regions) != 1 or regions[0].GraphicType != "POLYLINE":
        yield "it has not one outline"
        return
    source = place_of(regions[0].ContentSequence[0].ReferencedSOPSequence[0])
    uids = [str(s.TrackingUID) for s in segmentation.SegmentSequence]
    number = uids.index(values_of(content, "112040", "UID")[0]) + 1
    planes = [f.index for f in list_frames(segmentation) if (f.segment_number, f.source) == (number, source)]
    if len(planes) != 1:
        yield "its outline lies on an instance where the segment is not"
        return
    mask = unpack_frame(segmentation, planes[0])
    points = np.asarray(regions[0].GraphicData, dtype=float).reshape(-1, 2)
    enclosed = rasterize(points, mask.shape)
    regions_of_mask, _ = ndimage.label(mask)
    largest = np.bincount(regions_of_mask[mask]).max()
    if not np.array_equal(points[0], points[-1]) or not _outlines(enclosed, mask, int(largest)):
        yield "its outline is not that of the segment"
    _, row_mm, column_mm = inference.output.grid.spacing_mm
    areas = [number_of(item) for item in content if item.ValueType == "NUM" and name_of(item) == "42798000"]
    if len(areas) != 1 or abs(areas[0] - float(enclosed.sum()) * row_mm * column_mm) > ROUNDING:
        yield "its area is not that of its outline"


def _outlines(enclosed: NDArray[np.bool_], mask: NDArray[np.bool_], largest: int) -> bool:
    """Tell whether ``enclosed`` is one region of ``mask`` with its holes filled, and none is larger."""
    inside = enclosed & mask
    border = enclosed & ~ndimage.binary_erosion(enclosed)
    parts, _ = ndimage.label(mask)
    main = np.bincount(parts[inside], minlength=1).max(initial=0)
    outside = mask & ~enclosed
    touching = ndimage.binary_dilation(enclosed) & outside
    return bool(main == largest and mask[border].all() and not touching.any())


def rasterize(points: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Fill a closed polygon of (column, row) points by the even-odd rule, at pixel centres: array of shape (row, column)."""
    rows, columns = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    filled = np.zeros(shape[:2], dtype=np.bool_)
    for (x0, y0), (x1, y1) in pairwise(points):
        crossed = np.flatnonzero((rows >= min(y0, y1)) & (rows < max(y0, y1)))
        if crossed.size:
            at = x0 + (rows[crossed] - y0) * (x1 - x0) / (y1 - y0)
            filled[crossed] ^= columns[None, :] >= at[:, None]
    return filled
