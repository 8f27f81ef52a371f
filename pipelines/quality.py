"""Whether the voxels of a volume are what its header promises, and show what the pipeline is about; judged before any model sees them.

The check for Hounsfield units is made on every CT, the others where ``[quality]`` asks for them. Its limits are wide: in real scans of
chest and belly 85 to 93 % of what is no air is soft tissue, and 66 to 83 % of all is below water. What breaks them was not rescaled,
or not once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.declaration import Span
from pipelines.errors import QualityError
from pipelines.geometry import Grid
from pipelines.result import Volume
from pipelines.spec import Quality

#: What scanners write outside of their field of view is one value, the least, and so far away from all that they measured.
PADDING_GAP = 300.0
AIR_HU = -500.0
SOFT_TISSUE_HU = (-200.0, 300.0)
LUNG_HU = (-950.0, -400.0)
BONE_HU = 300.0
#: Denser than most of cortical bone: where everything is 1024 too high, soft tissue lies there.
DENSE_HU, MOST_DENSE = 700.0, 0.05
#: Any section of a body, also one without air around it, has that much fat, which is below water.
LEAST_BELOW_WATER = 0.005
WATER_HU = -30.0
LEAST_SOFT, LEAST_SOFT_OF_SOLID = 0.01, 0.25
#: Statistics need no more than every n-th row and column ...
MOST_PLANE = 128
#: ... and the body's outline no more than this.
OUTLINE_MM = 4.0
SKIN_HU = -300.0

Array = NDArray[np.float32]


def check_quality(quality: Quality, volume: Volume) -> None:
    """Judge the voxels of one input.

    Parameters
    ----------
    volume : Volume
        Array (slice, row, column) in modality units.

    Raises
    ------
    QualityError
        reason ``not_hu`` (CT only, always), ``empty_slices``, ``body_area``, ``lung``, ``bone`` or ``soft_tissue`` (where declared).
    """
    if quality.empty_slices is not None:
        _check_slices(quality.empty_slices, volume.array)
    if volume.headers[0].get("Modality") != "CT":
        return
    check_hounsfield(_thinned(volume.array))
    if quality.is_about_the_body:
        body = outline(volume.array, volume.grid)
        _require(quality.body_area_cm2, body.area_cm2, "The body's outline has", "cm2", "body_area")
        _require(quality.lung_percent, body.lung_percent, "Voxels as dense as lung are", "% of the body", "lung")
        _require(quality.bone_percent, body.bone_percent, "Voxels as dense as bone are", "% of the body", "bone")
        _require(
            quality.soft_tissue_percent, body.soft_tissue_percent, "Voxels as dense as soft tissue are", "% of the body", "soft_tissue"
        )


def check_hounsfield(values: Array) -> None:
    """Require what every CT of a body has in Hounsfield units: something below water, and soft tissue as the most of what is solid.

    Raises
    ------
    QualityError
        reason ``not_hu``.
    """
    measured = values[values > values.min()]
    is_padded = measured.size > 0 and float(measured.min() - values.min()) > PADDING_GAP
    measured = measured if is_padded else values
    solid = measured[measured > AIR_HU]
    soft = np.count_nonzero((solid > SOFT_TISSUE_HU[0]) & (solid < SOFT_TISSUE_HU[1]))
    if soft < LEAST_SOFT * measured.size or soft < LEAST_SOFT_OF_SOLID * solid.size or not solid.size:
        _refuse_units("soft tissue, around 0 HU, is missing")
    # Air that was cut off to one value looks like padding; then what is denser than bone decides.
    is_too_dense = np.count_nonzero(solid > DENSE_HU) > MOST_DENSE * solid.size
    if np.count_nonzero(measured < WATER_HU) < LEAST_BELOW_WATER * measured.size and (is_too_dense or not is_padded):
        _refuse_units("next to nothing of it is below water, where air and fat are")


def _refuse_units(why: str) -> None:
    raise QualityError(f"The CT is not in Hounsfield units, or shows no body: {why}. Look at its rescale.", reason="not_hu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What lies within the outline of the body; shares are of its voxels."""

    area_cm2: float
    lung_percent: float
    bone_percent: float
    soft_tissue_percent: float


def outline(array: Array, grid: Grid) -> Body:
    """Find the body on a coarse copy of a CT and say what it is made of.

    The body is, slice by slice, the largest connected piece above -300 HU with its holes filled; the table is another piece, or a thin
    one. The area is the median over slices.
    """
    _, rows, columns = grid.spacing_mm
    down, across = max(1, round(OUTLINE_MM / rows)), max(1, round(OUTLINE_MM / columns))
    coarse = array[:, ::down, ::across]
    masks = np.stack([_largest(plane > SKIN_HU) for plane in coarse])
    inside = coarse[masks]
    areas = np.count_nonzero(masks, axis=(1, 2)) * (rows * down * columns * across / 100.0)

    def percent(least: float, most: float) -> float:
        return 100.0 * float(np.count_nonzero((inside > least) & (inside < most))) / max(1, inside.size)

    return Body(
        area_cm2=float(np.median(areas)),
        lung_percent=percent(*LUNG_HU),
        bone_percent=percent(BONE_HU, np.inf),
        soft_tissue_percent=percent(*SOFT_TISSUE_HU),
    )


def _largest(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, count = ndimage.label(solid)
    if not count:
        return solid
    largest = labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:]))
    return np.asarray(ndimage.binary_fill_holes(largest), dtype=np.bool_)


def _check_slices(most: int, array: Array) -> None:
    empty = [place for place, plane in enumerate(array) if plane.min() == plane.max()]
    if len(empty) > most:
        raise QualityError(
            f"{len(empty)} slices show nothing, number {empty[0] + 1} for example; accepted are {most}.", reason="empty_slices"
        )


def _thinned(array: Array) -> Array:
    """Every n-th row and column, so that large images cost no more than small ones."""
    down, across = (max(1, size // MOST_PLANE) for size in array.shape[1:])
    return array[:, ::down, ::across]


def _require(span: Span | None, value: float, what: str, unit: str, reason: str) -> None:
    if span is not None and value not in span:
        raise QualityError(f"{what} {value:.0f} {unit}; accepted is {span}: it is another part of the body, or none.", reason=reason)
