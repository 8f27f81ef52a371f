"""What a detector found, from boxes of array indices to boxes along the axes of the patient.

MONAI's ``AffineBoxToWorldCoordinated`` takes two opposite corners of a box to the patient and makes a box of them again. On slices that are
oblique to the patient that box is too small: by a quarter for a cube at 12 degrees. A bundle's postprocessing is therefore stopped before
that transform (see `pipelines.configuration`), and all eight corners are taken. Where the slices are not oblique the result is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from pipelines.errors import WrongOutput
from pipelines.geometry import LPS_TO_RAS, Grid
from pipelines.result import Box, Boxes
from pipelines.stages import IMAGE

#: Names of boxes, their classes and their scores, as MONAI's detectors give them: in the zoo, and by default.
KEYS = (("box", "label", "label_scores"), ("boxes", "labels", "labels_scores"), ("boxes", "labels", "scores"))
#: A centre may lie this many voxels outside of the volume: detectors round.
MARGIN_VOXELS = 1.0


def to_boxes(made: Mapping[str, Any], labels: Sequence[int], grid: Grid) -> Boxes:
    """Make boxes in the patient.

    Parameters
    ----------
    made : mapping
        With ``image``, whose affine says where the indices lie; boxes, shape (box, 6), opposite corners as indices into it; classes,
        shape (box,); scores, shape (box,), 0 to 1.
    labels : sequence of int
        Classes that may occur.
    grid : Grid
        The source volume's grid.

    Returns
    -------
    Boxes
        Highest score first.

    Raises
    ------
    WrongOutput
        reason ``no_pred``, ``no_geometry``, ``shape``, ``not_finite``, ``labels``, ``score`` or ``outside`` (of the volume).
    """
    names = next((names for names in KEYS if all(name in made for name in names)), None)
    if names is None:
        raise WrongOutput(f"The bundle gave no boxes, but {', '.join(sorted(map(str, made)))}.", reason="no_pred")
    image = made.get(IMAGE)
    if not isinstance(image, MetaTensor):
        raise WrongOutput("The bundle's output carries no geometry.", reason="no_geometry")
    corners, classes, scores = (_array(made[name]) for name in names)
    corners = corners.reshape(-1, 6)
    if not len(corners) == classes.size == scores.size:
        raise WrongOutput(f"The bundle gave {len(corners)} boxes, {classes.size} classes and {scores.size} scores.", reason="shape")
    if not all(np.isfinite(array).all() for array in (corners, classes, scores)):
        raise WrongOutput("The bundle gave something that is not a number.", reason="not_finite")
    if not set(classes.ravel().tolist()) <= set(labels):
        raise WrongOutput(f"The bundle gave classes {sorted(set(classes.ravel().tolist()))} that are not all declared.", reason="labels")
    if scores.size and not (scores.min() >= 0 and scores.max() <= 1):
        raise WrongOutput("The bundle gave scores that are not between 0 and 1.", reason="score")
    to_patient = LPS_TO_RAS @ _array(image.affine)
    places = [_in_patient(box, to_patient) for box in corners]
    _check_inside(places, grid)
    order = np.argsort(-scores.ravel(), kind="stable")
    boxes = [Box(label=int(classes.flat[n]), score=float(scores.flat[n]), center_mm=places[n][0], size_mm=places[n][1]) for n in order]
    return Boxes(boxes=tuple(boxes), grid=grid)


Place = tuple[tuple[float, float, float], tuple[float, float, float]]


def _in_patient(box: NDArray[np.float64], to_patient: NDArray[np.float64]) -> Place:
    """Centre and size of the box along the patient's axes that holds a box of indices (x, y, z, x, y, z)."""
    corners = np.array([(box[i], box[j + 1], box[k + 2], 1.0) for i, j, k in product((0, 3), repeat=3)])
    points = (to_patient @ corners.T)[:3]
    low, high = points.min(axis=1), points.max(axis=1)
    centre, size = (low + high) / 2, high - low
    return (float(centre[0]), float(centre[1]), float(centre[2])), (float(size[0]), float(size[1]), float(size[2]))


def _check_inside(places: Sequence[Place], grid: Grid) -> None:
    to_index = np.linalg.inv(grid.affine)
    for centre, size in places:
        index = (to_index @ np.array([*centre, 1.0]))[:3]
        if (index < -0.5 - MARGIN_VOXELS).any() or (index > np.array(grid.shape) - 0.5 + MARGIN_VOXELS).any():
            raise WrongOutput("The bundle found something outside of the volume, so its boxes lie elsewhere.", reason="outside")
        if min(size) <= 0:
            raise WrongOutput("The bundle gave a box without a size.", reason="shape")


def _array(value: Any) -> NDArray[np.float64]:
    tensor = value.as_tensor() if isinstance(value, MetaTensor) else torch.as_tensor(value)
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)
