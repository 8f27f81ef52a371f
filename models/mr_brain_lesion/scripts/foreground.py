"""One brightness scale for MR images, whose stored values have none."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from torch import Tensor

#: Fluid on T2 is about four times as bright as the median of a head; what is brighter tells nothing more.
BRIGHTEST = 6.0


def scale_by_foreground(image: Tensor) -> Tensor:
    """Divide each channel by the median of its foreground, which is what is brighter than the mean of the whole.

    Parameters
    ----------
    image : Tensor, shape (channel, X, Y, Z)
        Magnitudes: 0 or more, dark where there is no patient.

    Returns
    -------
    Tensor, same shape
        The foreground's median is 1; 0 to `BRIGHTEST`. A channel without foreground becomes 0.
    """
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    scaled = torch.zeros_like(image)
    for number, channel in enumerate(plain):
        bright = channel[channel > channel.mean()]
        if bright.numel():
            scaled[number] = torch.clamp(channel / bright.median().clamp(min=1e-6), 0.0, BRIGHTEST)
    return scaled


class ScaleByForegroundd(MapTransform):  # type: ignore[misc]  # MONAI is not typed
    """`scale_by_foreground` for the images of a sample."""

    def __init__(self, keys: KeysCollection) -> None:
        super().__init__(keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scale each of the keys."""
        return {**data, **{key: scale_by_foreground(data[key]) for key in self.key_iterator(data)}}
