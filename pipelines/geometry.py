"""The one geometry of a volume: from array indices to millimetres in the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: From DICOM's patient coordinates (LPS: +x left, +y posterior, +z superior; PS3.3 C.7.6.2.1.1) to RAS and back.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """Where the voxels of a volume lie in the patient.

    Attributes
    ----------
    shape : tuple of int
        (slices, rows, columns).
    affine : ndarray, shape (4, 4), float64
        Maps the homogeneous index (slice, row, column, 1) of a voxel's centre to DICOM patient coordinates (LPS) in
        millimetres: PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1, extended by the slice direction.
    frame_of_reference_uid : str
        The Frame of Reference (0020,0052) in which the affine holds.
    sop_instance_uids : tuple of str
        The source instance of each slice, in slice order: along the slice direction, which is the cross product of the row and
        column directions of Image Orientation (Patient).
    frame_numbers : tuple of int
        The frame of each slice in its multi-frame instance, from 1 (PS3.3 C.7.6.6); empty when the instances are classic ones.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    frame_of_reference_uid: str
    sop_instance_uids: tuple[str, ...]
    frame_numbers: tuple[int, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres in millimetres: (between slices, between rows, between columns)."""
        steps = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(steps[0]), float(steps[1]), float(steps[2])

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def ras_affine(self) -> NDArray[np.float64]:
        """The affine that MONAI and NIfTI expect: (column, row, slice, 1) to RAS millimetres.

        MONAI arrays are indexed the other way round, (column, row, slice): transpose the array with it.
        """
        reorder = np.zeros((4, 4))
        reorder[0, 2] = reorder[1, 1] = reorder[2, 0] = reorder[3, 3] = 1.0
        return np.asarray(LPS_TO_RAS @ self.affine @ reorder, dtype=np.float64)
