"""From the network's probabilities to lesions: the likeliest class, inside of the skull, without specks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray
from scipy import ndimage

#: The network's classes: two of lesions, and what is healthy inside of the skull.
LESIONS, HEALTHY = (1, 2), 3


def lesions_of(classes: NDArray[np.uint8], voxel_ml: float, least_ml: float) -> NDArray[np.uint8]:
    """Keep lesions inside of the skull that are large enough.

    Parameters
    ----------
    classes : ndarray, shape (X, Y, Z)
        0 outside of the skull, and `LESIONS` and `HEALTHY`.
    voxel_ml : float
    least_ml : float
        Smaller connected regions of lesion are dropped.

    Returns
    -------
    ndarray, shape (X, Y, Z), uint8
        0, 1 or 2. What is not connected with the largest region inside of the skull is no lesion: it lies in the orbits or the nose. Where
        nothing healthy is seen at all, there is no inside, and nothing is dropped for that.
    """
    inside = _largest(classes > 0) if (classes == HEALTHY).any() else classes > 0
    lesions = np.where(inside & (classes != HEALTHY), classes, np.uint8(0))
    parts, count = ndimage.label(lesions > 0)
    keep = np.bincount(parts.ravel(), minlength=count + 1) * voxel_ml >= least_ml
    keep[0] = False
    return np.asarray(np.where(keep[parts], lesions, np.uint8(0)))


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest region of face neighbours; the mask must not be empty."""
    parts, _ = ndimage.label(mask)
    return np.asarray(parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])))


class Lesionsd(MapTransform):  # type: ignore[misc]  # MONAI is not typed
    """Probabilities of shape (class, X, Y, Z) to one label map of shape (1, X, Y, Z), uint8, on the same grid.

    Parameters
    ----------
    keys : hashable
        Images with an affine.
    least_ml : float
        Smaller components are dropped.
    """

    def __init__(self, keys: KeysCollection, least_ml: float) -> None:
        super().__init__(keys)
        self.least_ml = float(least_ml)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Convert each of the keys."""
        return {**data, **{key: self._labels(data[key]) for key in self.key_iterator(data)}}

    def _labels(self, probabilities: MetaTensor) -> MetaTensor:
        voxel_ml = float(torch.linalg.det(probabilities.affine[:3, :3].to(torch.float64)).abs()) / 1000.0
        likeliest = probabilities.as_tensor().argmax(dim=0).to(torch.uint8)
        cleaned = lesions_of(likeliest.cpu().numpy(), voxel_ml, self.least_ml)
        return MetaTensor(
            torch.from_numpy(cleaned)[None].to(likeliest.device),
            meta=probabilities.meta,
            applied_operations=probabilities.applied_operations,
        )
