"""Right and left lung on CT by threshold, components and morphology; nothing is learned."""

from __future__ import annotations

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Module

from scripts.airway import find_airway
from scripts.morphology import blur, bounding_box, close, components, dilate, erode, fill_cavities, fill_small, touching_sides

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
#: Vessels, and nodules on the pleura up to about twice this width, count as lung; nodules inside the lung do whatever their size.
CLOSING_MM = 6.0
#: Larger holes in an axial slice are no vessel but the top of the diaphragm.
MAX_HOLE_MM2 = 300.0


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
        Tensor, shape (batch, 1, X, Y, Z), float32
            1 in the right lung, -1 in the left lung, 0 elsewhere: one field that may be interpolated linearly before `to_labels`
            cuts it half way, at a third of the cost of a channel for each.
        """
        # Made from the image, so that a MONAI engine finds the way back to the source grid in its metadata.
        fields = torch.zeros_like(image)
        for number in range(len(image)):
            fields[number, 0] = self._one(as_plain(image[number, 0]))
        return fields

    def _one(self, image: Tensor) -> Tensor:
        smooth = blur(image)
        air = smooth < AIR_HU
        inside = air & ~touching_sides(air)
        steps = max(1, round(CLOSING_MM / self.spacing_mm))
        # Everything after this looks at the air inside the body only, half of the volume or less.
        box = bounding_box(inside, steps + 2)
        right, left = self._segment(smooth[box], inside[box])
        field = torch.zeros_like(image)
        field[box] = right.to(image.dtype) - left.to(image.dtype)
        return field

    def _segment(self, smooth: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """Right and left lung from the air inside the body."""
        wall = dilate(find_airway(smooth, inside, self.spacing_mm), 1)
        right, left = self._part(self._lung_tissue(smooth, inside & ~wall))
        steps = max(1, round(CLOSING_MM / self.spacing_mm))
        hole = round(MAX_HOLE_MM2 / self.spacing_mm**2)
        right = fill_small(fill_cavities(close(right, steps)), hole) & ~left & ~wall
        left = fill_small(fill_cavities(close(left, steps)), hole) & ~right & ~wall
        return right, left

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


def as_plain(image: Tensor) -> Tensor:
    """The same values without MONAI's metadata, which every single operation would carry along."""
    return image.as_tensor() if isinstance(image, MetaTensor) else image


def _middle_x(mask: NDArray[np.bool_]) -> float:
    """Mean index along x, which runs towards the patient's right."""
    counts = np.count_nonzero(mask, axis=(1, 2))
    return float(np.average(np.arange(len(counts)), weights=counts))


def _grow_back(cores: tuple[Tensor, Tensor], lungs: Tensor) -> tuple[Tensor, Tensor]:
    """Grow two cores within the lungs, one voxel at a time in turn, until neither changes."""
    right, left = cores
    while True:
        more_right = dilate(right, 1) & lungs & ~left | right
        more_left = dilate(left, 1) & lungs & ~more_right | left
        if torch.equal(more_right, right) and torch.equal(more_left, left):
            return right, left
        right, left = more_right, more_left


def to_labels(field: Tensor) -> Tensor:
    """Cut the field of `ClassicalLungs` half way: 1 right lung, 2 left lung, 0 elsewhere."""
    return (field > 0.5).to(torch.uint8) + 2 * (field < -0.5).to(torch.uint8)
