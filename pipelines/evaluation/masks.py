"""Named masks in the patient, from label files, brought onto one grid so that they can be compared voxel by voxel."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from pipelines.errors import EvaluationError
from pipelines.geometry import LPS_TO_RAS

#: Voxels of two grids lie at the same places when they are nearer than this part of a voxel.
SAME_VOXEL = 0.05
#: What the readers raise for a file that is not what its name says.
_BAD_FILE = (OSError, ValueError, KeyError, ImageFileError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Masks:
    """Masks that share one grid.

    Attributes
    ----------
    by_name : mapping of str to ndarray, shape (i, j, k), bool
        Axes run as nearly as possible to the patient's right to left, back to front and feet to head.
    affine : ndarray, shape (4, 4)
        (i, j, k, 1) to RAS millimetres.
    """

    by_name: Mapping[str, NDArray[np.bool_]]
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each axis."""
        steps = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(steps[0]), float(steps[1]), float(steps[2])


def placed(by_name: Mapping[str, NDArray[np.bool_]], affine: NDArray[np.float64]) -> Masks:
    """Turn arrays of one shape, whose affine leads to RAS millimetres, so that their axes run as `Masks` says."""
    turn = io_orientation(affine)
    shape = next(iter(by_name.values())).shape if by_name else (1, 1, 1)
    turned = {name: np.ascontiguousarray(apply_orientation(mask, turn)) for name, mask in by_name.items()}
    return Masks(by_name=turned, affine=np.asarray(affine @ inv_ornt_aff(turn, shape), dtype=np.float64))


def read_label_file(path: Path, names: Mapping[int, str]) -> Masks:
    """Read one file of labels.

    Parameters
    ----------
    path : Path
        NIfTI, or ``.npz`` with ``labels`` (slice, row, column; or channel, slice, row, column) and ``affine_lps``, the affine of
        (slice, row, column, 1) to DICOM patient coordinates.
    names : mapping of int to str
        What each label is called; one without a name is called by its number. Channels are numbered from 1.

    Raises
    ------
    EvaluationError
        reason ``unreadable`` or ``labels``.
    """
    try:
        array, affine = _from_npz(path) if path.suffix == ".npz" else _from_nifti(path)
    except _BAD_FILE as error:
        raise EvaluationError(f"{path} is no label file: {type(error).__name__}.", reason="unreadable") from error
    if array.ndim == 4:
        return placed({names.get(number, str(number)): mask != 0 for number, mask in enumerate(array, start=1)}, affine)
    values = np.unique(array)
    if array.ndim != 3 or not np.array_equal(values, np.rint(values)):
        raise EvaluationError(f"{path} holds {array.ndim} dimensions, or fractions: it is no label map.", reason="labels")
    labels = sorted({*(int(value) for value in values if value != 0), *names})
    return placed({names.get(label, str(label)): array == label for label in labels}, affine)


def _from_npz(path: Path) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    with np.load(path, allow_pickle=False) as file:
        return np.asarray(file["labels"]), np.asarray(LPS_TO_RAS @ file["affine_lps"], dtype=np.float64)


def _from_nifti(path: Path) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    image = nibabel.load(path)
    if not isinstance(image, nibabel.Nifti1Image) or image.affine is None:
        raise ValueError(path.name)
    return np.asarray(image.dataobj).squeeze(), np.asarray(image.affine, dtype=np.float64)


def on_one_grid(first: Masks, second: Masks) -> tuple[Masks, Masks]:
    """Give both the smallest grid that holds both, with every name in each; nothing is resampled.

    A name that one of them lacks is an empty mask there, as segments without voxels are left out of a DICOM SEG.

    Raises
    ------
    EvaluationError
        reason ``grid``: their voxels do not lie at the same places; ``labels``: they share no name.
    """
    if not set(first.by_name) & set(second.by_name):
        raise EvaluationError(
            f"Nothing has the same name in both: {sorted(first.by_name)} and {sorted(second.by_name)}. Name the labels.", reason="labels"
        )
    start = (np.linalg.inv(first.affine) @ second.affine)[:3]
    offset = np.rint(start[:, 3]).astype(int)
    shapes = np.array([next(iter(masks.by_name.values())).shape for masks in (first, second)])
    # How far apart the far corners are, which is where directions and spacings that differ a little show.
    corners = np.abs((start[:, :3] - np.eye(3)) @ shapes.max(axis=0)) + np.abs(start[:, 3] - offset)
    if corners.max() > SAME_VOXEL:
        raise EvaluationError("Reference and output do not lie on one grid; nothing is resampled to compare them.", reason="grid")
    low = np.minimum(0, offset)
    high = np.maximum(shapes[0], offset + shapes[1])
    affine = first.affine.copy()
    affine[:3, 3] = (first.affine @ [*low, 1])[:3]
    names = sorted({*first.by_name, *second.by_name})
    return (
        Masks(by_name={name: _within(first.by_name.get(name), -low, high - low) for name in names}, affine=affine),
        Masks(by_name={name: _within(second.by_name.get(name), offset - low, high - low) for name in names}, affine=affine),
    )


def _within(mask: NDArray[np.bool_] | None, start: NDArray[np.int_], shape: NDArray[np.int_]) -> NDArray[np.bool_]:
    whole = np.zeros(tuple(shape), dtype=np.bool_)
    if mask is not None:
        whole[tuple(slice(begin, begin + size) for begin, size in zip(start, mask.shape, strict=True))] = mask
    return whole
