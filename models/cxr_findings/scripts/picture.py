"""One picture of one size and brightness, from whatever a loader gives."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch import Tensor
from torch.nn.functional import interpolate, pad

#: What is darker or brighter than these parts of the image tells nothing: markers, the tube's open field.
DARKEST, BRIGHTEST = 0.01, 0.99


def to_picture(image: Tensor, size: int) -> Tensor:
    """Scale brightness by percentiles and fit the image into a square.

    Parameters
    ----------
    image : Tensor, shape (channel, column, row) or (channel, column, row, 1)
        Bone brighter than lung (MONOCHROME2); colours are averaged.
    size : int
        Side of the square; what is missing on two sides is 0.

    Returns
    -------
    Tensor, shape (1, size, size), float32
        0 to 1.
    """
    plain = (image.as_tensor() if isinstance(image, MetaTensor) else image).float().mean(dim=0)
    plain = plain.reshape(plain.shape[:2])
    # Every fourth pixel tells the percentiles, and torch's quantile has a limit.
    some = plain[::4, ::4].reshape(-1) if plain.numel() > 1_000_000 else plain.reshape(-1)
    low, high = torch.quantile(some, DARKEST), torch.quantile(some, BRIGHTEST)
    scaled = torch.clamp((plain - low) / (high - low).clamp(min=1e-6), 0.0, 1.0)
    longest = max(scaled.shape)
    shape = [max(1, round(side * size / longest)) for side in scaled.shape]
    small = interpolate(scaled[None, None], size=shape, mode="bilinear", antialias=True, align_corners=False)[0]
    across, down = size - shape[0], size - shape[1]
    return pad(small, (down // 2, down - down // 2, across // 2, across - across // 2))


class Pictured(MapTransform):  # type: ignore[misc]  # MONAI is not typed
    """`to_picture` for the images of a sample."""

    def __init__(self, keys: KeysCollection, size: int) -> None:
        super().__init__(keys)
        self.size = int(size)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Convert each of the keys."""
        return {**data, **{key: to_picture(data[key], self.size) for key in self.key_iterator(data)}}
