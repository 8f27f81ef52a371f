"""A picture for people: what the archive received, source and segments or boxes together, drawn from the received files alone.

They are placed by the source instance that each frame or region names, never by the order of anything, so that the picture shows
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
from node.encode.marks import Item, list_items, list_marks, list_sources
from node.encode.montage import Legend, Panel, compose
from node.encode.place import list_places
from pipelines.result import SeriesFiles, Volume
from pipelines.series import read_volume

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
        Number of the segment or box of each voxel, 0 for none; where they overlap, the last.
    directions : ndarray, shape (3, 3)
        Unit vectors in LPS along which the slice, the row and the column index grow.
    spacing_mm : tuple of float
        Between slices, rows and columns.
    """

    grey: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    directions: NDArray[np.float64]
    spacing_mm: tuple[float, float, float]


def draw_overlay(source: Sequence[Path], received: Path, picture: Path) -> None:
    """Draw six slices and two reformats of ``source`` with the segments over them, or the slices that have boxes, and write a PNG.

    Parameters
    ----------
    source : sequence of Path
        The instances of the study, in any order; what is not of the source series is left out.
    received : Path
        The Segmentation or the report as the archive holds it.
    picture : Path
        Where the PNG goes.

    Raises
    ------
    EncodeError
        When what was received draws nothing, or on an instance that is not among ``source``.
    GeometryError, IdentityConflict, UnsupportedPixelData
        When the source cannot be read; see `pipelines.series.read_volume`.
    """
    stored = dcmread(received)
    items = list_items(stored)
    if not items:
        raise EncodeError("The report draws nothing.", reason="preview")
    scene = _set_scene(source, stored)
    if "SegmentSequence" in stored:
        panels = [_cut(scene, 0, index) for index in _choose_slices(scene.labels)]
        panels += [_cut(scene, axis, _busiest(scene.labels, axis)) for axis in (1, 2)]
    else:
        panels = [_cut(scene, 0, int(index)) for index in np.flatnonzero(scene.labels.any(axis=(1, 2)))[: SLICES + 2]]
    compose(panels, {item.number: item.rgb for item in items}, _describe(stored, scene, items)).save(picture)


def _set_scene(source: Sequence[Path], stored: Dataset) -> Scene:
    """Lay what is drawn over its source, slice by slice as each mark names it."""
    series = list_sources(stored)
    paths = tuple(path for path in source if str(dcmread(path, specific_tags=["SeriesInstanceUID"]).SeriesInstanceUID) == series)
    if not paths:
        raise EncodeError("The source series is not among the source files.", reason="preview")
    volume = read_volume(SeriesFiles(series_instance_uid=series, paths=paths))
    places = {place: index for index, place in enumerate(list_places(volume.grid))}
    labels = np.zeros(volume.grid.shape, dtype=np.uint8)
    for mark in list_marks(stored, volume.grid.shape[1:]):
        if mark.place not in places:
            raise EncodeError("Something is drawn on an instance that is not among the source files.", reason="preview")
        labels[places[mark.place]][mark.mask] = mark.number
    directions = (volume.grid.affine[:3, :3] / np.asarray(volume.grid.spacing_mm)).T
    return Scene(grey=_window(volume), labels=labels, directions=directions, spacing_mm=volume.grid.spacing_mm)


def _window(volume: Volume) -> NDArray[np.uint8]:
    """Map a volume to grey: by the lung window for CT, by its own range for anything else."""
    if volume.headers[0].get("Modality") == "CT":
        centre, width = CT_WINDOW
    else:
        low, high = np.percentile(volume.array, (1, 99))
        centre, width = (low + high) / 2, max(high - low, 1.0)
    return np.asarray(np.clip((volume.array - centre) / width + 0.5, 0, 1) * 255, dtype=np.uint8)


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


def _describe(stored: Dataset, scene: Scene, items: Sequence[Item]) -> list[Legend]:
    """Write the legend: what each item is, and of a segment the volume of its voxels as they are stored."""
    if "SegmentSequence" not in stored:
        return [Legend(text=item.text, rgb=item.rgb) for item in items]
    counts = {item.number: 0 for item in items}
    for mark in list_marks(stored, scene.labels.shape[1:]):
        counts[mark.number] += int(mark.mask.sum())
    legends = []
    for item in items:
        volume_ml = counts[item.number] * float(np.prod(scene.spacing_mm)) / 1000.0
        legends.append(Legend(text=f"{item.text}   {volume_ml:,.{0 if volume_ml >= 100 else 2}f} ml", rgb=item.rgb))
    return legends
