"""Where nodules are looked for: both lungs with what they enclose, found without learning."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

#: Half way between lung and soft tissue on the bundle's scale, which is 0 at -1000 HU and 1 at 400 HU.
AIR = (-400.0 + 1000.0) / 1400.0
#: What is smaller than a tenth of the largest part, or than this many voxels of 1.5 mm, is no lung (60 ml).
LEAST_VOXELS = 18_000
#: Vessels, and nodules on the pleura up to about twice this, are closed into the field.
CLOSING_VOXELS = 6
IN_PLANE = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])


def lung_field(image: Tensor) -> Tensor:
    """Find air that is inside of the body in its axial slice, and close it over what it surrounds.

    Parameters
    ----------
    image : Tensor, shape (1, X, Y, Z)
        On the bundle's scale, 1.5 mm voxels, z superior.

    Returns
    -------
    Tensor, shape (1, X, Y, Z), bool
        Empty when there are no lungs. Trachea, large bronchi and gas of more than 60 ml count as well.
    """
    plain = (image.as_tensor() if isinstance(image, MetaTensor) else image)[0].cpu().numpy()
    air = plain < AIR
    parts, _ = ndimage.label(air & ~_reaching_sides(air))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    keep = (sizes >= LEAST_VOXELS) & (sizes >= 0.1 * sizes.max(initial=0))
    return torch.from_numpy(_closed(keep[parts]))[None].to(image.device)


def search_area(image: Tensor) -> Tensor:
    """Where the image is cut to: the lung field, or everything where there is none, since an image of no voxels cannot be processed."""
    field = lung_field(image)
    return field if bool(field.any()) else torch.ones_like(field)


def _reaching_sides(air: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Air of the room and the table: it reaches an edge of its own axial slice."""
    parts, count = ndimage.label(air, IN_PLANE)
    touches = np.zeros(count + 1, dtype=bool)
    for face in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        touches[face] = True
    touches[0] = False
    return np.asarray(touches[parts])


def _closed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Close by a distance, which is the same as a large ball and much cheaper."""
    if not mask.any():
        return mask
    near = ndimage.distance_transform_edt(~mask) <= CLOSING_VOXELS
    # Beyond the array there is nothing to shrink from: a lung that is cut off stays whole.
    padded = np.pad(near, 1, mode="edge")
    closed = ndimage.distance_transform_edt(padded)[1:-1, 1:-1, 1:-1] > CLOSING_VOXELS
    return np.asarray(ndimage.binary_fill_holes(closed | mask))
