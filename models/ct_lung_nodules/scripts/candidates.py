"""From a heat map to candidates: boxes with scores."""

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

from scripts.lungfield import lung_field


def find_candidates(heat: NDArray[np.float32], threshold: float, least_voxels: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Make a candidate of each connected region above a threshold.

    Parameters
    ----------
    heat : ndarray, shape (X, Y, Z)
        0 to 1.
    threshold : float
    least_voxels : int
        Smaller regions are dropped.

    Returns
    -------
    boxes : ndarray, shape (candidate, 6)
        Opposite corners (x, y, z, x, y, z) as indices, half a voxel outside of the outermost voxels' centres.
    scores : ndarray, shape (candidate,)
        Mean of the hottest quarter of the region; highest first.
    """
    parts, _ = ndimage.label(heat > threshold)
    found = []
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        values = np.sort(heat[place][parts[place] == number])
        if len(values) < least_voxels:
            continue
        corners = [axis.start - 0.5 for axis in place] + [axis.stop - 0.5 for axis in place]
        found.append((float(values[-max(3, len(values) // 4) :].mean()), corners))
    found.sort(key=lambda candidate: -candidate[0])
    boxes = np.array([corners for _, corners in found], dtype=np.float32).reshape(-1, 6)
    return boxes, np.array([score for score, _ in found], dtype=np.float32)


class Candidatesd(MapTransform):  # type: ignore[misc]  # MONAI is not typed
    """Replace a heat map by ``box``, ``label`` and ``label_scores``, as MONAI's detectors give them; all of class 0.

    Parameters
    ----------
    keys : hashable
        The heat map, shape (1, X, Y, Z), 0 to 1, on the grid of ``image``.
    threshold : float
        Of the heat.
    least_score : float
        Of a candidate.
    least_voxels, most : int
        Of a region, and of candidates.
    """

    def __init__(self, keys: KeysCollection, threshold: float, least_score: float, least_voxels: int, most: int) -> None:
        super().__init__(keys)
        self.threshold, self.least_score = float(threshold), float(least_score)
        self.least_voxels, self.most = int(least_voxels), int(most)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Convert; the image stays, since the boxes are indices into it."""
        made = dict(data)
        for key in self.key_iterator(data):
            heat = made.pop(key)
            plain = (heat.as_tensor() if isinstance(heat, MetaTensor) else heat).float()
            masked = torch.where(lung_field(data["image"]).to(plain.device), plain, torch.zeros_like(plain))
            boxes, scores = find_candidates(masked[0].cpu().numpy(), self.threshold, self.least_voxels)
            keep = scores[: self.most] >= self.least_score
            made["box"] = torch.from_numpy(boxes[: self.most][keep])
            made["label_scores"] = torch.from_numpy(scores[: self.most][keep])
            made["label"] = torch.zeros(int(keep.sum()), dtype=torch.long)
        return made
