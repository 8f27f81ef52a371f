"""Right and left lung on CT by threshold, components and morphology; nothing is learned."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from scripts.airway import find_airway
from scripts.morphology import blur, close, components, dilate, erode, fill_slices, touching_sides

#: Half way between lung (about -850 HU) and soft tissue (about 40 HU).
AIR_HU = -400.0
#: A lung is at least this big; a smaller one is left to the guards of whoever uses the result.
MIN_LUNG_ML = 60.0
#: Mean of a lung, from fibrosis to severe emphysema; bowel and stomach gas lies below.
LUNG_MEAN_HU = (-945.0, -300.0)
#: The smaller lung is at least this part of the larger one, and their middles are this far apart.
MIN_SHARE, MIN_APART_MM = 0.15, 40.0
#: Lungs that touch are thinned by up to this much until they part.
MAX_THINNING_MM = 9.0
#: Vessels and nodules up to about twice this width count as lung.
CLOSING_MM = 6.0


class ClassicalLungs(Module):
    """A segmentation "network" without weights.

    Parameters
    ----------
    spacing_mm : float
        Voxel size of the input, equal along all axes.
    """

    def __init__(self, spacing_mm: float) -> None:
        super().__init__()
        self.spacing_mm = float(spacing_mm)
        self.voxel_ml = self.spacing_mm**3 / 1000.0

    def forward(self, image: Tensor) -> Tensor:
        """Segment a batch.

        Parameters
        ----------
        image : Tensor, shape (batch, 1, X, Y, Z)
            Hounsfield units; x towards the patient's right, y anterior, z superior (RAS).

        Returns
        -------
        Tensor, shape (batch, 3, X, Y, Z), float32
            1 in one of the channels background, right lung, left lung.
        """
        return torch.stack([self._one(torch.as_tensor(sample[0])) for sample in image])

    def _one(self, image: Tensor) -> Tensor:
        smooth = blur(image)
        air = smooth < AIR_HU
        inside = air & ~touching_sides(air)
        airway = find_airway(smooth, inside, self.spacing_mm)
        lungs = self._lung_tissue(smooth, inside & ~dilate(airway, 1))
        right, left = self._part(lungs)
        steps = max(1, round(CLOSING_MM / self.spacing_mm))
        wall = dilate(airway, 1)
        right = fill_slices(close(right, steps)) & ~left & ~wall
        left = fill_slices(close(left, steps)) & ~right & ~wall
        return torch.stack([~(right | left), right, left]).to(torch.float32)

    def _lung_tissue(self, smooth: Tensor, candidates: Tensor) -> Tensor:
        """Components that are large enough and neither gas nor something dense."""
        labels, sizes = components(candidates)
        sums = np.bincount(labels.ravel(), weights=smooth.cpu().numpy().ravel())
        means = sums / np.maximum(sizes, 1)
        keep = (sizes * self.voxel_ml >= MIN_LUNG_ML) & (means > LUNG_MEAN_HU[0]) & (means < LUNG_MEAN_HU[1])
        return torch.from_numpy(keep[labels]).to(candidates.device)

    def _part(self, lungs: Tensor) -> tuple[Tensor, Tensor]:
        """Right and left lung; where they touch, thin them until they part and let both grow back at one pace."""
        for steps in range(round(MAX_THINNING_MM / self.spacing_mm) + 1):
            cores = self._two_largest(erode(lungs, steps))
            if cores is not None:
                return _grow_back(cores, lungs) if steps else cores
        # One lung, or two that will not part: the middle of the image decides, and the missing side is the user's to notice.
        x = torch.nonzero(lungs)[:, 0].to(torch.float64)
        nothing = torch.zeros_like(lungs)
        is_right = x.numel() > 0 and float(x.mean()) > (lungs.shape[0] - 1) / 2
        return (lungs, nothing) if is_right else (nothing, lungs)

    def _two_largest(self, mask: Tensor) -> tuple[Tensor, Tensor] | None:
        """The two largest components as (right, left), or None when they are not a pair of lungs."""
        labels, sizes = components(mask)
        if len(sizes) < 3:
            return None
        second, first = (int(index) for index in np.argsort(sizes, kind="stable")[-2:])
        if sizes[second] < MIN_SHARE * sizes[first] or sizes[second] * self.voxel_ml < MIN_LUNG_ML / 2:
            return None
        middles = {index: _middle_x(labels == index) for index in (first, second)}
        if abs(middles[first] - middles[second]) * self.spacing_mm < MIN_APART_MM:
            return None
        right, left = (first, second) if middles[first] > middles[second] else (second, first)
        return torch.from_numpy(labels == right).to(mask.device), torch.from_numpy(labels == left).to(mask.device)


def _middle_x(mask: NDArray[np.bool_]) -> float:
    """Mean index along x, which runs towards the patient's right."""
    counts = np.count_nonzero(mask, axis=(1, 2))
    return float(np.average(np.arange(len(counts)), weights=counts))


def _grow_back(cores: tuple[Tensor, Tensor], lungs: Tensor) -> tuple[Tensor, Tensor]:
    """Grow two cores within the lungs, one voxel at a time in turn, until neither changes."""
    right, left = cores
    while True:
        before = int(right.sum()) + int(left.sum())
        right = dilate(right, 1) & lungs & ~left | right
        left = dilate(left, 1) & lungs & ~right | left
        if int(right.sum()) + int(left.sum()) == before:
            return right, left
