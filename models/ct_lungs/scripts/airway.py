"""Trachea and main bronchi: a seed near the top, grown until it would leak into the lungs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scripts.morphology import IN_PLANE, components

#: Thresholds that are tried, from pure air upwards.
THRESHOLDS_HU = tuple(range(-1000, -840, 10))
#: Cross-section of a trachea, and how far from the middle of the body it lies at most.
SEED_AREA_MM2 = (40.0, 900.0)
SEED_OFF_MIDDLE_MM = 35.0
#: Seeds are looked for in this uppermost part of the air inside the body.
SEED_PART = 0.4
#: Below it is not yet an airway, above it has leaked; so has what doubles from one threshold to the next.
AIRWAY_ML = (4.0, 130.0)
LEAP_ML = 15.0


def find_airway(smooth: Tensor, inside: Tensor, spacing_mm: float) -> Tensor:
    """Find trachea and main bronchi.

    Parameters
    ----------
    smooth : Tensor, shape (X, Y, Z)
        Hounsfield units, slightly blurred; z superior.
    inside : Tensor, shape (X, Y, Z), bool
        Air inside the body.
    spacing_mm : float
        Voxel size.

    Returns
    -------
    Tensor, shape (X, Y, Z), bool
        Empty when no seed is found or everything leaks, as in severe emphysema or below the carina.
    """
    voxel_ml = spacing_mm**3 / 1000.0
    seed = _find_seed(inside, spacing_mm)
    best = torch.zeros_like(inside)
    if seed is None:
        return best
    volume_ml = 0.0
    for threshold in THRESHOLDS_HU:
        labels, sizes = components(inside & (smooth < threshold))
        hit = np.unique(labels[seed])
        hit = hit[hit > 0]
        if not len(hit):
            continue
        # The seed's slice may hold several specks of pure air; the largest belongs to the trachea.
        trunk = int(hit[np.argmax(sizes[hit])])
        grown_ml = float(sizes[trunk]) * voxel_ml
        leaked = grown_ml > AIRWAY_ML[1] or (volume_ml > AIRWAY_ML[0] and grown_ml > volume_ml * 1.6 + LEAP_ML)
        if leaked:
            break
        volume_ml = grown_ml
        best = torch.from_numpy(labels == trunk).to(inside.device)
    return best if volume_ml > AIRWAY_ML[0] else torch.zeros_like(inside)


def _find_seed(inside: Tensor, spacing_mm: float) -> tuple[NDArray[np.int64], ...] | None:
    """Indices of a trachea's cross-section in the uppermost slice that has one."""
    occupied = torch.nonzero(inside.any(dim=0).any(dim=0))[:, 0].cpu().numpy()
    if not len(occupied):
        return None
    lowest = int(occupied[-1] - SEED_PART * (occupied[-1] - occupied[0]))
    labels, sizes = components(inside[:, :, lowest:], IN_PLANE)
    everywhere = np.nonzero(inside.cpu().numpy())
    middle = (everywhere[0].min() + everywhere[0].max()) / 2
    for z in reversed(range(labels.shape[2])):
        for index in np.unique(labels[:, :, z]):
            area = float(sizes[index]) * spacing_mm**2
            if index == 0 or not SEED_AREA_MM2[0] <= area <= SEED_AREA_MM2[1]:
                continue
            x, y = np.nonzero(labels[:, :, z] == index)
            if abs(x.mean() - middle) * spacing_mm <= SEED_OFF_MIDDLE_MM:
                return x, y, np.full_like(x, z + lowest)
    return None
