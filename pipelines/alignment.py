"""Several volumes of one patient onto the grid of the first, or the reason why that would be a guess.

Only images that share a Frame of Reference lie in one space (PS3.3 C.7.4.1). Others would need a registration, which RadNode does not do
and does not pretend to have done. What was done to each is recorded, so that a reader of the result can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.errors import GeometryError, IdentityConflict
from pipelines.geometry import Grid
from pipelines.result import Volume

#: Two grids are one when none of their corners are farther apart: a tenth of what positions are commonly rounded to.
SAME_GRID_MM = 0.01
#: A voxel reaches half a step beyond its centre; beyond that there is nothing to interpolate from.
HALF_A_STEP = 0.5 + 1e-6


class Registration(StrEnum):
    """What was done to one input."""

    REFERENCE = "reference"
    SAME_GRID = "same_grid"
    RESAMPLED = "resampled"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aligned:
    """Volumes on one grid, in the order of the inputs, and what was done to each."""

    volumes: tuple[Volume, ...]
    registration: tuple[Registration, ...]


def align(volumes: Sequence[Volume]) -> Aligned:
    """Lay volumes upon the first.

    One in the same Frame of Reference on another grid is interpolated linearly, where the whole grid of the first lies within it. Its
    grid then is that of the first; its headers stay those of its own slices.

    Parameters
    ----------
    volumes : sequence of Volume
        At least one; arrays (slice, row, column).

    Raises
    ------
    IdentityConflict
        reason ``mixed``: they are not of one patient and study.
    GeometryError
        reason ``not_registered`` (another Frame of Reference, or none) or ``not_covered`` (it does not reach over the first).
    """
    first, *others = volumes
    placed, states = [first], [Registration.REFERENCE]
    for number, volume in enumerate(others, start=2):
        _check_related(first, volume, number)
        if _is_same(first.grid, volume.grid):
            placed.append(volume)
            states.append(Registration.SAME_GRID)
        else:
            placed.append(replace(volume, array=_resample(volume, first.grid, number), grid=first.grid))
            states.append(Registration.RESAMPLED)
    return Aligned(volumes=tuple(placed), registration=tuple(states))


def _check_related(first: Volume, other: Volume, number: int) -> None:
    for keyword in ("PatientID", "StudyInstanceUID"):
        if first.headers[0].get(keyword) != other.headers[0].get(keyword):
            raise IdentityConflict(f"{keyword} of input {number} is not that of the first.", reason="mixed")
    frame = first.grid.frame_of_reference_uid
    if not frame or other.grid.frame_of_reference_uid != frame:
        raise GeometryError(
            f"Input {number} lies in another Frame of Reference than the first; they are not registered, and RadNode does not do it.",
            reason="not_registered",
        )


def _corners(shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """Homogeneous indices of the eight corner voxels, shape (4, 8)."""
    ends = np.stack(np.meshgrid(*([0, size - 1] for size in shape), indexing="ij")).reshape(3, 8)
    return np.vstack([ends, np.ones(8)])


def _is_same(one: Grid, other: Grid) -> bool:
    if one.shape != other.shape:
        return False
    corners = _corners(one.shape)
    return bool(np.linalg.norm((one.affine - other.affine) @ corners, axis=0).max() <= SAME_GRID_MM)


def _resample(volume: Volume, onto: Grid, number: int) -> NDArray[np.float32]:
    """Interpolate a volume linearly at the voxel centres of a grid."""
    mapping = np.linalg.inv(volume.grid.affine) @ onto.affine
    reached = (mapping @ _corners(onto.shape))[:3]
    limits = np.asarray(volume.grid.shape)[:, None] - 1 + HALF_A_STEP
    if (reached < -HALF_A_STEP).any() or (reached > limits).any():
        raise GeometryError(f"Input {number} does not cover the first one; where it ends, nothing is known.", reason="not_covered")
    out = np.empty(onto.shape, dtype=np.float32)
    ndimage.affine_transform(volume.array, mapping[:3, :3], offset=mapping[:3, 3], output=out, order=1, mode="nearest")
    return out
