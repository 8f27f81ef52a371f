"""Volumes with one known object each, which no flip, turn or exchange leaves as it was.

What they are made for is to be found again: geometry, not anatomy. Voxels are anisotropic, the centre is not the origin, and each of
several volumes has its object in another place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipelines.geometry import Grid
from pipelines.result import Volume

SHAPE = (22, 44, 50)
SPACING_MM = (2.9, 1.2, 1.4)
CENTRE_MM = (12.0, -31.0, 77.0)
#: Half axes across (slices, rows, columns), and where the middles are, seen from that of the volume.
HALF_AXES_MM = (12.0, 8.0, 10.0)
PLACES_MM = ((14.0, -11.0, 15.0), (-13.0, 12.0, 16.0), (13.0, 11.0, -16.0), (-14.0, -12.0, -14.0))
#: Air, body and object; magnetic resonance has zeros where nothing is.
HOUNSFIELD = (-1000.0, 40.0, 140.0)
SIGNAL = (0.0, 300.0, 800.0)
#: In the scene of a chest: lung, and an object that is denser than the body, by so much that its edge is told from the body's.
LUNG_HU, DENSE_HU = -850.0, 600.0
FRAME_OF_REFERENCE_UID = "2.25.77"


Scene = Literal["body", "chest", "radiograph"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """One volume and the object in it.

    Attributes
    ----------
    mask : ndarray, shape (slice, row, column), bool
        The object's voxels.
    share : float
        Where between the background and the object its edge is, as a share of their difference.
    """

    volume: Volume
    mask: NDArray[np.bool_]
    share: float


def make_known(number: int, *, is_ct: bool, degrees: float, scene: Scene = "body") -> Known:
    """Make one volume.

    Parameters
    ----------
    number : int
        Which of the places the object is in, from 0 to 3.
    is_ct : bool
        Hounsfield units; otherwise signal, zero outside of the body.
    degrees : float
        How far the slices are turned about the left-right axis, from axial.
    scene : str
        ``body``: air around a body with the object in it. ``chest``: the object is in air that the body encloses, for bundles that look for
        lungs first. ``radiograph``: one slice.
    """
    shape = (1, *SHAPE[1:]) if scene == "radiograph" else SHAPE
    slices, rows, columns = np.ogrid[: shape[0], : shape[1], : shape[2]]
    places = (0.0, *PLACES_MM[number][1:]) if scene == "radiograph" else PLACES_MM[number]
    distances = [
        ((index - (size - 1) / 2) * step - place) / half
        for index, size, step, place, half in zip((slices, rows, columns), shape, SPACING_MM, places, HALF_AXES_MM, strict=True)
    ]
    mask = np.asarray(distances[0] ** 2 + distances[1] ** 2 + distances[2] ** 2 < 1)
    air, body, thing = HOUNSFIELD if is_ct else SIGNAL
    array = np.full(shape, air, dtype=np.float32)
    inside = array[:, 2:-2, 3:-3] if scene == "radiograph" else array[1:-1, 2:-2, 3:-3]
    inside[...] = body
    if scene == "chest":
        array[2:-2, 5:-5, 6:-6], thing = LUNG_HU, DENSE_HU
    array[mask] = thing
    volume = Volume(array=array, grid=_grid(degrees, shape), headers=(), series_instance_uid=f"2.25.{number + 1}")
    return Known(volume=volume, mask=mask, share=0.8 if scene == "chest" else 0.5)


def oblique_orientation(degrees: float) -> tuple[float, float, float, float, float, float]:
    """Image Orientation (Patient) of axial slices that are turned about the left-right axis."""
    return (1.0, 0.0, 0.0, 0.0, float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees))))


def _grid(degrees: float, shape: tuple[int, int, int]) -> Grid:
    orientation = np.array(oblique_orientation(degrees))
    row, column = orientation[:3], orientation[3:]
    affine = np.eye(4)
    affine[:3, :3] = np.stack([np.cross(row, column) * SPACING_MM[0], column * SPACING_MM[1], row * SPACING_MM[2]], axis=1)
    affine[:3, 3] = np.array(CENTRE_MM) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    names = tuple(f"2.25.{100 + number}" for number in range(shape[0]))
    return Grid(shape=shape, affine=affine, frame_of_reference_uid=FRAME_OF_REFERENCE_UID, sop_instance_uids=names)
