"""Labels on the source grid without the probabilities there: ``Invertd`` and ``argmax`` in one, slice by slice.

Many bundles interpolate the probability of every class back to the source grid and choose the greatest there. That takes a volume of 32 bit
numbers for each class, made by a resampler that works with 64 bits and in no order, to keep one byte of each voxel. Along the axes of the
grids, which is how ``Spacing`` resamples, linear interpolation is one axis after the other, and one slice of it after the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, Compose, Invertd, MapTransform
from monai.utils.enums import TraceKeys

#: The transform whose inverse is the interpolation, as it signs what it does.
_RESAMPLE = "SpatialResample"
#: An affine whose other elements are smaller than this part of a voxel over a whole volume leads along the axes.
_ALONG_AXES = 1e-6
#: A label is one byte.
_MOST_CLASSES = 256


class InvertArgmaxd(MapTransform):  # type: ignore[misc]  # MONAI is not typed
    """What ``Invertd`` and ``AsDiscreted(argmax=True)`` give, in one step where the geometry allows it, and by them where not.

    The labels are the same but where two classes come so near to each other that the rounding of 32 bit numbers decides.

    Parameters
    ----------
    invert : Invertd
        The bundle's own; the inverse of every other transform is still its work.
    discrete : AsDiscreted
        The bundle's own.
    """

    def __init__(self, invert: Invertd, discrete: AsDiscreted) -> None:
        super().__init__(invert.keys)
        self._invert = invert
        self._discrete = discrete

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Replace the probabilities, (class, x, y, z), by labels on the source grid, (1, X, Y, Z)."""
        (key,), (orig_key,) = self.keys, self._invert.orig_keys
        pred: Any = data[key]
        image: Any = data.get(orig_key)
        way = _way_back(pred, image)
        if way is None:
            done: dict[Any, Any] = self._discrete(self._invert(data))
            return done
        scale, offset, size, last = way
        labels = argmax_along_axes(pred.as_tensor(), scale, offset, size)[None]
        # What was resampled is back where it came from: undoing that step again changes nothing, and the rest of the way is MONAI's.
        source = last[TraceKeys.EXTRA_INFO]["src_affine"]
        stand_in = MetaTensor(torch.empty(1, 1, 1, 1), meta=dict(image.meta), applied_operations=image.applied_operations)
        stand_in.affine = source
        inverted = self._invert({**data, orig_key: stand_in, key: MetaTensor(labels, meta=dict(stand_in.meta))})
        return {**data, key: inverted[key]}


def fuse(postprocessing: Any) -> Any:
    """The same postprocessing with ``Invertd`` and ``argmax`` in one step; unchanged where it has no such pair."""
    if not isinstance(postprocessing, Compose):
        return postprocessing
    steps = list(postprocessing.transforms)
    for place, (first, second) in enumerate(pairwise(steps)):
        if _is_inversion(first) and _is_argmax(second) and tuple(first.keys) == tuple(second.keys):
            return Compose([*steps[:place], InvertArgmaxd(first, second), *steps[place + 2 :]])
    return postprocessing


def argmax_along_axes(
    probabilities: torch.Tensor, scale: tuple[float, ...], offset: tuple[float, ...], size: tuple[int, ...]
) -> torch.Tensor:
    """The class with the greatest linearly interpolated value, of equal ones the first.

    Parameters
    ----------
    probabilities : Tensor, shape (class, x, y, z)
    scale, offset : tuple of float
        Index i of the result lies at ``i * scale + offset`` of the input, along each axis; beyond the border its value goes on.
    size : tuple of int
        Of the result.

    Returns
    -------
    Tensor, shape size, uint8
        On the same device. Beside it, one slice of every class is held.
    """
    values = probabilities.float()
    (at, after, part), rows, columns = (
        _neighbours(values.shape[axis + 1], size[axis], scale[axis], offset[axis], values.device) for axis in range(3)
    )
    labels = torch.empty(size, dtype=torch.uint8, device=values.device)
    for place in range(size[0]):
        plane = torch.lerp(values[:, at[place]], values[:, after[place]], part[place])
        plane = torch.lerp(plane.index_select(1, rows[0]), plane.index_select(1, rows[1]), rows[2].view(-1, 1))
        labels[place] = _greatest(torch.lerp(plane.index_select(2, columns[0]), plane.index_select(2, columns[1]), columns[2]))
    return labels


def _greatest(plane: torch.Tensor) -> torch.Tensor:
    """The index of the greatest along the first axis; for a few classes much faster than ``argmax``, which strides through memory."""
    best = plane[0]
    label = torch.zeros(best.shape, dtype=torch.uint8, device=plane.device)
    for index in range(1, plane.shape[0]):
        label.masked_fill_(plane[index] > best, index)
        best = torch.maximum(best, plane[index])
    return label


def _neighbours(
    count: int, wanted: int, scale: float, offset: float, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The voxels before and behind each wanted place, and how far it lies between them; worked out in double precision."""
    place = (torch.arange(wanted, dtype=torch.float64) * scale + offset).clamp(0, count - 1)
    before = place.floor().long()
    return before.to(device), (before + 1).clamp(max=count - 1).to(device), (place - before).float().to(device)


def _way_back(pred: Any, image: Any) -> tuple[tuple[float, ...], tuple[float, ...], tuple[int, ...], dict[str, Any]] | None:
    """How the last thing that was done to the image is undone along its axes, or None when it cannot be."""
    if not (isinstance(pred, MetaTensor) and isinstance(image, MetaTensor) and image.applied_operations):
        return None
    last = image.applied_operations[-1]
    extra = last.get(TraceKeys.EXTRA_INFO, {})
    is_linear = last.get(TraceKeys.CLASS_NAME) == _RESAMPLE and (extra.get("mode"), extra.get("padding_mode")) == ("bilinear", "border")
    if not is_linear or pred.ndim != 4 or not 2 <= pred.shape[0] <= _MOST_CLASSES:
        return None
    back = np.linalg.solve(np.asarray(image.affine, dtype=np.float64), np.asarray(extra["src_affine"], dtype=np.float64))
    scale, offset = np.diag(back)[:3], back[:3, 3]
    size = tuple(int(length) for length in last[TraceKeys.ORIG_SIZE])
    if np.abs(back[:3, :3] - np.diag(scale)).max() * max(size) > _ALONG_AXES:
        return None
    return tuple(scale.tolist()), tuple(offset.tolist()), size, last


def _is_inversion(step: Any) -> bool:
    return (
        isinstance(step, Invertd)
        and len(step.keys) == 1
        and (tuple(step.nearest_interp), tuple(step.post_func), tuple(step.device)) == ((False,), (None,), (None,))
    )


def _is_argmax(step: Any) -> bool:
    if not isinstance(step, AsDiscreted):
        return False
    others = (*step.to_onehot, *step.threshold, *step.rounding)
    return tuple(step.argmax) == (True,) and not step.converter.kwargs and all(other is None for other in others)
