"""A picture for people: what the archive received, source and segments together, drawn from the received files alone.

Segments are placed by the source instance that each frame names, never by the order of anything, so that the picture shows
what a viewer will show. It holds no identity and says in its pixels that it is unverified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.core.errors import EncodeError
from node.encode.color import to_rgb
from node.encode.frames import list_frames, unpack_frame
from node.encode.montage import Legend, Panel, compose

#: Centre and width in Hounsfield units that show lung and mediastinum at once.
CT_WINDOW = (-400.0, 1800.0)

SLICES = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """Source and segments on one grid.

    Attributes
    ----------
    grey : ndarray, shape (slice, row, column), uint8
        The source in its display window.
    labels : ndarray, shape (slice, row, column), uint8
        Segment number of each voxel, 0 for none; where segments overlap, the last.
    directions : ndarray, shape (3, 3)
        Unit vectors in LPS along which the slice, the row and the column index grow.
    spacing_mm : tuple of float
        Between slices, rows and columns.
    """

    grey: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    directions: NDArray[np.float64]
    spacing_mm: tuple[float, float, float]


def draw_overlay(source: Sequence[Path], segmentation: Path, picture: Path) -> None:
    """Draw six slices and two reformats of ``source`` with the segments over them, and write a PNG.

    Parameters
    ----------
    source : sequence of Path
        The single-frame instances of the source series, in any order.
    segmentation : Path
        The Segmentation as the archive holds it.
    picture : Path
        Where the PNG goes.

    Raises
    ------
    EncodeError
        When a frame names a source instance that is not among ``source``.
    """
    stored = dcmread(segmentation)
    scene = _set_scene(source, stored)
    colours = {int(s.SegmentNumber): to_rgb(s.RecommendedDisplayCIELabValue) for s in stored.SegmentSequence}
    panels = [_cut(scene, 0, index) for index in _choose_slices(scene.labels)]
    panels += [_cut(scene, axis, _busiest(scene.labels, axis)) for axis in (1, 2)]
    compose(panels, colours, _describe(stored, scene, colours)).save(picture)


def _along_normal(header: Dataset) -> float:
    cosines = np.asarray(header.ImageOrientationPatient, dtype=float)
    return float(np.cross(cosines[:3], cosines[3:]) @ np.asarray(header.ImagePositionPatient, dtype=float))


def _set_scene(source: Sequence[Path], stored: Dataset) -> Scene:
    """Lay source and segments on one grid, the source sorted along its normal."""
    read = sorted(((dcmread(path, stop_before_pixels=True), path) for path in source), key=lambda pair: _along_normal(pair[0]))
    headers = [header for header, _ in read]
    places = {str(header.SOPInstanceUID): index for index, header in enumerate(headers)}
    grey = np.stack([_window(dcmread(path)) for _, path in read])
    labels = np.zeros(grey.shape, dtype=np.uint8)
    for frame in list_frames(stored):
        if frame.source_uid not in places:
            raise EncodeError("A frame of the segmentation names an instance that is not among the source files.", reason="preview")
        labels[places[frame.source_uid]][unpack_frame(stored, frame.index)] = frame.segment_number
    cosines = np.asarray(headers[0].ImageOrientationPatient, dtype=float)
    directions = np.stack([np.cross(cosines[:3], cosines[3:]), cosines[3:], cosines[:3]])
    row_mm, column_mm = (float(value) for value in headers[0].PixelSpacing)
    slice_mm = (_along_normal(headers[-1]) - _along_normal(headers[0])) / max(len(headers) - 1, 1)
    return Scene(grey=grey, labels=labels, directions=directions, spacing_mm=(slice_mm or row_mm, row_mm, column_mm))


def _window(header: Dataset) -> NDArray[np.uint8]:
    """Map one slice to grey: by the lung window for CT, by its own range for anything else."""
    values = header.pixel_array * float(header.get("RescaleSlope", 1) or 1) + float(header.get("RescaleIntercept", 0) or 0)
    if header.get("Modality") == "CT":
        centre, width = CT_WINDOW
    else:
        low, high = np.percentile(values, (1, 99))
        centre, width = (low + high) / 2, max(high - low, 1.0)
    return np.asarray(np.clip((values - centre) / width + 0.5, 0, 1) * 255, dtype=np.uint8)


def _choose_slices(labels: NDArray[np.uint8]) -> list[int]:
    """Choose slices evenly between the first and the last that hold a segment, a little inside of both."""
    held = np.flatnonzero(labels.any(axis=(1, 2)))
    first, last = (int(held[0]), int(held[-1])) if held.size else (0, labels.shape[0] - 1)
    steps = np.linspace(0.08, 0.92, SLICES)
    return [round(first + step * (last - first)) for step in steps]


def _busiest(labels: NDArray[np.uint8], axis: int) -> int:
    others = tuple(other for other in range(3) if other != axis)
    return int(np.argmax((labels > 0).sum(axis=others)))


def _cut(scene: Scene, axis: int, index: int) -> Panel:
    """Cut one plane across ``axis`` (0 slice, 1 row, 2 column), turned as radiologists hang it where the axes allow it.

    A reformat that shows the slice direction is turned upside down when that direction runs to the head, so that the head is up.
    """
    grey, labels = np.take(scene.grey, index, axis), np.take(scene.labels, index, axis)
    down, right = (other for other in range(3) if other != axis)
    down_direction = scene.directions[down]
    if axis != 0 and down_direction[2] > 0:
        grey, labels, down_direction = grey[::-1], labels[::-1], -down_direction
    return Panel(
        grey=grey,
        labels=labels,
        size_mm=(grey.shape[0] * scene.spacing_mm[down], grey.shape[1] * scene.spacing_mm[right]),
        down=down_direction,
        right=scene.directions[right],
        title=f"{('slice', 'row', 'column')[axis]} {index + 1} of {scene.grey.shape[axis]}",
    )


def _describe(stored: Dataset, scene: Scene, colours: dict[int, tuple[int, int, int]]) -> list[Legend]:
    """Write the legend: label, laterality and the volume of the voxels as they are stored."""
    counts = np.bincount(scene.labels.ravel(), minlength=256)
    legends = []
    for segment in stored.SegmentSequence:
        sides = segment.SegmentedPropertyTypeCodeSequence[0].get("SegmentedPropertyTypeModifierCodeSequence", [])
        volume_ml = counts[int(segment.SegmentNumber)] * float(np.prod(scene.spacing_mm)) / 1000.0
        side = ", ".join(str(code.CodeMeaning) for code in sides) or "no side"
        text = f"{segment.SegmentLabel}   [{side}]   {volume_ml:,.{0 if volume_ml >= 100 else 2}f} ml"
        legends.append(Legend(text=text, rgb=colours[int(segment.SegmentNumber)]))
    return legends
