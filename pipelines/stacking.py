"""Headers of one series -> slices in order on one Grid, or the reason why they are not a volume.

Nothing is resampled, filled or guessed. The tolerances are here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipelines.errors import GeometryError
from pipelines.geometry import Grid

#: Two gaps between three slices are the least that can show whether spacing is uniform.
MIN_SLICES = 3
#: Direction cosines: length 1 and right angle within this; written with 4 or more decimals they always are.
UNIT_TOLERANCE = 1e-3
#: Slices of one stack differ by less than this in each cosine: 0.03 mm at the edge of a 300 mm image.
SAME_COSINES = 1e-4
#: Slices nearer than this share one position.
SAME_PLACE_MM = 0.01
#: A step may differ from the median step by 5 % (moving tables, positions worked out in single precision) ...
STEP_TOLERANCE = 0.05
#: ... or by this much, since some scanners write positions with one decimal.
STEP_ROUNDING_MM = 0.1
#: No slice may lie farther than this part of a step from the uniform grid that stands for it (drift adds up).
DRIFT_TOLERANCE = 0.2
#: Slices may creep sideways by 1 mm in 100 mm (0.57 degrees); more is a tilted gantry or a sheared stack.
TILT_TOLERANCE = 0.01


def stack(headers: Sequence[Dataset], frames: Sequence[int] = ()) -> tuple[tuple[int, ...], Grid]:
    """Order the slices of one series along their normal and place them in the patient.

    Parameters
    ----------
    headers : sequence of Dataset
        The slices of one series, in any order; see `pipelines.frames` for those of a multi-frame instance.
    frames : sequence of int, optional
        The frame that each of them is in its instance, 0 for a classic image.

    Returns
    -------
    order : tuple of int
        Index into ``headers`` of each slice, along the normal, which is the cross product of the row and column directions.
    grid : Grid
        (slice, row, column) to DICOM patient coordinates (LPS) in millimetres, PS3.3 C.7.6.2.1.1. The slice step is the mean
        vector from one Image Position (Patient) to the next.

    Raises
    ------
    GeometryError
        reason ``localizer``, ``missing_geometry``, ``invalid_geometry``, ``mixed_frame_of_reference``, ``mixed_orientation``,
        ``mixed_matrix``, ``too_few``, ``duplicate_position``, ``tilt`` or ``gap``.
    """
    if any("LOCALIZER" in _image_type(header) for header in headers):
        raise GeometryError("The series is or holds a localizer.", reason="localizer")
    cosines, positions, pixel_spacing = _plane_of_each(headers)
    _check_alike(headers, cosines, pixel_spacing)
    if len(headers) < MIN_SLICES:
        raise GeometryError(f"{len(headers)} slices are too few; at least {MIN_SLICES} are needed.", reason="too_few")
    row, column = cosines[0, :3], cosines[0, 3:]
    normal = np.cross(row, column)
    order = np.argsort(positions @ normal, kind="stable")
    positions = positions[order]
    _check_uniform(positions, normal)
    if not headers[0].get("FrameOfReferenceUID"):
        raise GeometryError("The series has no Frame of Reference UID, to which a segmentation must refer.", reason="missing_geometry")

    affine = np.eye(4)
    affine[:3, 0] = (positions[-1] - positions[0]) / (len(positions) - 1)
    # Pixel Spacing is (between rows, between columns); a step down the rows runs along the column direction (PS3.3 10.7.1.3).
    affine[:3, 1] = column * pixel_spacing[0, 0]
    affine[:3, 2] = row * pixel_spacing[0, 1]
    affine[:3, 3] = positions[0]
    grid = Grid(
        shape=(len(headers), int(headers[0].Rows), int(headers[0].Columns)),
        affine=affine,
        frame_of_reference_uid=str(headers[0].FrameOfReferenceUID),
        sop_instance_uids=tuple(str(headers[index].get("SOPInstanceUID", "")) for index in order),
        frame_numbers=tuple(frames[index] for index in order) if any(frames) else (),
    )
    return tuple(int(index) for index in order), grid


def _image_type(header: Dataset) -> tuple[str, ...]:
    value = header.get("ImageType") or ()
    return (value,) if isinstance(value, str) else tuple(value)


def numbers(header: Dataset, keyword: str, count: int) -> NDArray[np.float64] | None:
    """The ``count`` decimal numbers of one element, or None when they are not there or not numbers."""
    value = header.get(keyword)
    if value is None:
        return None
    try:
        values = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return None
    return values if values.shape == (count,) else None


def _plane_of_each(headers: Sequence[Dataset]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Cosines (n, 6), positions (n, 3) and pixel spacing (n, 2) of every slice, each complete and sane."""
    planes = []
    for header in headers:
        plane = [numbers(header, key, n) for key, n in (("ImageOrientationPatient", 6), ("ImagePositionPatient", 3), ("PixelSpacing", 2))]
        present = [values for values in plane if values is not None]
        if len(present) < 3 or not header.get("Rows") or not header.get("Columns"):
            raise GeometryError("An instance lacks position, orientation, pixel spacing or matrix.", reason="missing_geometry")
        planes.append(np.concatenate(present))
    table = np.stack(planes)
    cosines, positions, pixel_spacing = table[:, :6], table[:, 6:9], table[:, 9:]
    lengths = np.stack([np.linalg.norm(cosines[:, :3], axis=1), np.linalg.norm(cosines[:, 3:], axis=1)])
    right_angle = np.sum(cosines[:, :3] * cosines[:, 3:], axis=1)
    sane = (np.abs(lengths - 1) < UNIT_TOLERANCE).all() and (np.abs(right_angle) < UNIT_TOLERANCE).all()
    if not (np.isfinite(table).all() and sane and (pixel_spacing > 0).all()):
        raise GeometryError(
            "Orientation is not two perpendicular unit vectors, or a position or spacing is not a usable number.", reason="invalid_geometry"
        )
    return cosines, positions, pixel_spacing


def _check_alike(headers: Sequence[Dataset], cosines: NDArray[np.float64], pixel_spacing: NDArray[np.float64]) -> None:
    """All slices share frame of reference, orientation and matrix."""
    frames = {str(header.get("FrameOfReferenceUID") or "") for header in headers}
    if len(frames) > 1:
        raise GeometryError(f"The series mixes {len(frames)} frames of reference.", reason="mixed_frame_of_reference")
    if np.abs(cosines - cosines[0]).max() > SAME_COSINES:
        raise GeometryError("The slices do not share one orientation.", reason="mixed_orientation")
    matrices = {(int(header.Rows), int(header.Columns)) for header in headers}
    if len(matrices) > 1 or not np.allclose(pixel_spacing, pixel_spacing[0], rtol=1e-4, atol=0.0):
        raise GeometryError("The slices do not share one matrix and pixel spacing.", reason="mixed_matrix")


def _check_uniform(positions: NDArray[np.float64], normal: NDArray[np.float64]) -> None:
    """Sorted slice positions stand in one straight, evenly spaced row along the normal."""
    along = positions @ normal
    steps = np.diff(along)
    near = int(np.argmin(steps))
    if steps[near] < SAME_PLACE_MM:
        raise GeometryError(f"Two slices lie at the same position, {along[near]:.1f} mm along the normal.", reason="duplicate_position")

    total = positions[-1] - positions[0]
    sideways = total - (total @ normal) * normal
    if np.linalg.norm(sideways) > TILT_TOLERANCE * (total @ normal) + STEP_ROUNDING_MM:
        degrees = np.degrees(np.arctan2(np.linalg.norm(sideways), total @ normal))
        raise GeometryError(f"The stack is tilted by {degrees:.1f} degrees against its slices (gantry tilt).", reason="tilt")

    median = float(np.median(steps))
    off = np.abs(steps - median)
    worst = int(np.argmax(off))
    if off[worst] > max(STEP_TOLERANCE * median, STEP_ROUNDING_MM):
        sentence = f"Slices are {steps[worst]:.2f} mm apart at {along[worst]:.1f} mm along the normal, elsewhere {median:.2f} mm"
        raise GeometryError(f"{sentence}: a slice is missing or the spacing varies.", reason="gap")
    expected = positions[0] + np.linspace(0.0, 1.0, len(positions))[:, None] * total
    drift = np.linalg.norm(positions - expected, axis=1)
    if drift.max() > max(DRIFT_TOLERANCE * median, STEP_ROUNDING_MM):
        place = along[int(np.argmax(drift))]
        raise GeometryError(f"A slice lies {drift.max():.2f} mm off the uniform grid, {place:.1f} mm along the normal.", reason="gap")
