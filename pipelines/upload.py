"""The image to the device right behind its loader, so that the bundle's own transforms run there.

Written for CUDA and never run on it: there was no GPU at hand. What is tested, on a CPU, is that nothing else changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.transforms import Compose, LoadImaged, MapTransform


class Uploadd(MapTransform):  # type: ignore[misc]  # MONAI is not typed
    """Moves images to a device, from pinned memory where that is CUDA's, so that the copy does not go through a buffer of the driver.

    Parameters
    ----------
    keys
        Which images.
    device : torch.device
        Where to.
    """

    def __init__(self, keys: Any, device: torch.device) -> None:
        super().__init__(keys)
        self._device = device

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Move each image, with its geometry and what was done to it."""
        moved = dict(data)
        for key in self.key_iterator(moved):
            image = moved[key]
            source = image.pin_memory() if self._device.type == "cuda" and image.device.type == "cpu" else image
            moved[key] = source.to(self._device, non_blocking=True)
        return moved


def with_upload(preprocessing: Any, device: torch.device) -> Any:
    """The same preprocessing with an upload behind its loader; unchanged where it has none at its top.

    The transforms stay the same objects, so that an ``Invertd`` which refers to the preprocessing undoes what they did.
    """
    steps = list(preprocessing.transforms) if isinstance(preprocessing, Compose) else []
    loaders = [place for place, step in enumerate(steps) if isinstance(step, LoadImaged)]
    if not loaders:
        return preprocessing
    last = loaders[-1]
    keys = tuple(dict.fromkeys(key for place in loaders for key in steps[place].keys))
    return Compose([*steps[: last + 1], Uploadd(keys, device), *steps[last + 1 :]])
