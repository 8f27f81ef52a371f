"""A box as viewers can draw it: its section on one of the source's images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy.spatial import ConvexHull, HalfspaceIntersection, QhullError

from node.core.errors import EncodeError
from pipelines.result import Box, Inference

#: Cosines below this are what rounding left of a right angle.
RIGHT_ANGLE = 1e-9
#: Pixels by which the point that is known to lie in the section keeps away from the image's border.
INSET = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Section:
    """Where a box is on one image.

    Attributes
    ----------
    index : int
        The slice that is nearest to the box's centre.
    points : ndarray, shape (points, 2), float32
        A closed convex polygon: (column, row) in the coordinates of SCOORD, as in `node.encode.contour.Outline`.
    """

    index: int
    points: NDArray[np.float32]


def cut_box(box: Box, inference: Inference) -> Section:
    """Cut a box through its centre, parallel to the slices, and draw the section on the slice that is nearest.

    A box along the axes of the patient gives a rectangle on axial, coronal and sagittal slices, and up to a hexagon on oblique ones.
    What lies beyond the border of the image is cut away: SCOORD has no coordinates there (PS3.3 C.18.6.1.1).

    Raises
    ------
    EncodeError
        reason ``box``: nothing of the section lies on the image.
    """
    headers, center = inference.volume.headers, np.asarray(box.center_mm)
    index = int(np.argmin([abs(_along_normal(header, center)) for header in headers]))
    header = headers[index]
    right, down, corner = _axes(header)
    # the plane of the section: the slice, moved along its normal into the centre of the box
    origin = corner + _normal(header) * _along_normal(header, center) - center
    sides = np.concatenate([np.eye(3), -np.eye(3)])
    halfspaces = np.stack([sides @ right, sides @ down, sides @ origin - np.tile(np.asarray(box.size_mm) / 2.0, 2)], axis=1)
    halfspaces = halfspaces[np.linalg.norm(halfspaces[:, :2], axis=1) > RIGHT_ANGLE]
    width, height = float(header.Columns), float(header.Rows)
    border = np.asarray([[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [1.0, 0.0, -width], [0.0, 1.0, -height]])
    middle = np.linalg.lstsq(np.stack([right, down], axis=1), -origin, rcond=None)[0]
    within = np.clip(middle, INSET, np.asarray([width, height]) - INSET)
    try:
        corners = HalfspaceIntersection(np.concatenate([halfspaces, border]), within).intersections
        polygon = corners[ConvexHull(corners).vertices]
    except QhullError as error:
        raise EncodeError("A box has no section on the source's images.", reason="box") from error
    polygon = np.clip(polygon, 0.0, [width, height]).astype(np.float32)
    polygon = np.roll(polygon, -int(np.lexsort(polygon.T)[0]), axis=0)  # where qhull begins is its own affair
    return Section(index=index, points=np.concatenate([polygon, polygon[:1]]))


def _axes(header: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Find the millimetres of one step right and one step down, and the patient coordinates of the SCOORD point (0, 0)."""
    cosines = np.asarray(header.ImageOrientationPatient, dtype=float)
    down_mm, right_mm = (float(value) for value in header.PixelSpacing)
    right, down = cosines[:3] * right_mm, cosines[3:] * down_mm
    return right, down, np.asarray(header.ImagePositionPatient, dtype=float) - (right + down) / 2.0


def _normal(header: Dataset) -> NDArray[np.float64]:
    cosines = np.asarray(header.ImageOrientationPatient, dtype=float)
    normal = np.cross(cosines[:3], cosines[3:])
    return np.asarray(normal / np.linalg.norm(normal))


def _along_normal(header: Dataset, point: NDArray[np.float64]) -> float:
    """How far a point lies behind the slice, in millimetres along its normal."""
    return float(_normal(header) @ (point - np.asarray(header.ImagePositionPatient, dtype=float)))
