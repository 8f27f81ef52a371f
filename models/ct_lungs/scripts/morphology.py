"""Binary morphology on (X, Y, Z) masks: dilation and blur in torch on any device, components in SciPy on the CPU."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

#: Neighbours within one axial slice; z is the last axis.
IN_PLANE = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])


def dilate(mask: Tensor, steps: int) -> Tensor:
    """Grow a mask by about ``steps`` voxels: crosses and cubes in turn, whose sum is nearly round.

    Voxels outside of the array never count.
    """
    for step in range(steps):
        source = mask
        grown = mask.clone()
        for axis in range(3):
            # A cube grows what the axis before has grown already, a cross only the mask itself.
            source = grown.clone() if step % 2 else mask
            inner = mask.shape[axis] - 1
            grown.narrow(axis, 1, inner).logical_or_(source.narrow(axis, 0, inner))
            grown.narrow(axis, 0, inner).logical_or_(source.narrow(axis, 1, inner))
        mask = grown
    return mask


def erode(mask: Tensor, steps: int) -> Tensor:
    """Shrink a mask by about ``steps`` voxels; the edge of the array does not bite."""
    return ~dilate(~mask, steps)


def close(mask: Tensor, steps: int) -> Tensor:
    """Fill gaps, notches and tubes narrower than about ``2 * steps`` voxels."""
    return erode(dilate(mask, steps), steps)


def blur(image: Tensor) -> Tensor:
    """Smooth with the binomial kernel (1, 2, 1) / 4 along each axis, a sigma of 0.7 voxels; edge values are repeated."""
    for axis in range(3):
        inner = image.shape[axis] - 1
        before = torch.cat([image.narrow(axis, 0, 1), image.narrow(axis, 0, inner)], dim=axis)
        after = torch.cat([image.narrow(axis, 1, inner), image.narrow(axis, inner, 1)], dim=axis)
        image = 0.5 * image + 0.25 * (before + after)
    return image


def components(mask: Tensor, structure: NDArray[np.bool_] | None = None) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Connected components by face neighbours.

    Returns
    -------
    labels : ndarray, shape of mask
        0 outside of the mask, then 1, 2, ...
    sizes : ndarray
        Voxels of each label, ``sizes[0]`` being 0.
    """
    labels, _ = ndimage.label(mask.cpu().numpy(), structure)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels, sizes


def touching_sides(mask: Tensor) -> Tensor:
    """The part of a mask that reaches the left, right, front or back edge of the array within its own axial slice."""
    labels, sizes = components(mask, IN_PLANE)
    touches = np.zeros(len(sizes), dtype=bool)
    for face in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        touches[face] = True
    touches[0] = False
    return torch.from_numpy(touches[labels]).to(mask.device)


def fill_small(mask: Tensor, voxels: int) -> Tensor:
    """Fill what the mask encloses within its axial slice, up to a size: vessels, but not the dome of the diaphragm."""
    labels, sizes = components(~mask, IN_PLANE)
    small = (sizes > 0) & (sizes <= voxels)
    for face in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        small[face] = False
    return mask | torch.from_numpy(small[labels]).to(mask.device)


def fill_cavities(mask: Tensor) -> Tensor:
    """Fill what the mask encloses on all sides: nodules, whatever their size, but not the dome of the diaphragm."""
    labels, sizes = components(~mask)
    enclosed = sizes > 0
    for face in (labels[0], labels[-1], labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        enclosed[face] = False
    return mask | torch.from_numpy(enclosed[labels]).to(mask.device)


def bounding_box(mask: Tensor, margin: int) -> tuple[slice, slice, slice]:
    """The smallest box around a mask, widened by a margin where there is room; the whole array for an empty mask."""
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        hit = torch.nonzero(mask.any(dim=others[1]).any(dim=others[0]))[:, 0]
        first, last = (int(hit[0]), int(hit[-1])) if len(hit) else (0, mask.shape[axis] - 1)
        box.append(slice(max(0, first - margin), min(mask.shape[axis], last + margin + 1)))
    return box[0], box[1], box[2]
