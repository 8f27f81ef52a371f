"""What a bundle's loader is given instead of files: the volumes that are being processed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.transforms import Compose, LoadImage, LoadImaged
from monai.utils.enums import MetaKeys, SpaceKeys
from numpy.typing import NDArray

from pipelines.axes import reverse_axes
from pipelines.errors import BundleContract
from pipelines.result import Volume

#: The "files" that a bundle is told to load are called ``0.radnode``, ``1.radnode``; by this ending the reader knows that it is meant.
SUFFIX = ".radnode"


class VolumeReader(ImageReader):  # type: ignore[misc]  # MONAI is not typed
    """Gives a bundle's ``LoadImaged`` the volumes that are being processed."""

    def __init__(self) -> None:
        super().__init__()
        self.volumes: tuple[Volume, ...] = ()

    def verify_suffix(self, filename: Any) -> bool:
        """Whether this reader is meant."""
        return all(Path(str(name)).suffix == SUFFIX for name in _each(filename))

    def read(self, data: Any, **_: Any) -> list[Volume]:
        """Look up the volumes; there are no files."""
        numbers = [int(Path(str(name)).stem) for name in _each(data)]
        if any(number >= len(self.volumes) for number in numbers):
            raise FileNotFoundError(str(data))
        return [self.volumes[number] for number in numbers]

    def get_data(self, img: Any) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Return the array with its RAS affine: (column, row, slice), several volumes on one grid as (channel, column, row, slice).

        The affine and ``space`` must agree, or MONAI's ``Orientation`` turns the image by 180 degrees in its plane without a word.
        """
        affine = img[0].grid.ras_affine
        arrays = [reverse_axes(volume.array) for volume in img]
        # Not a number is MONAI's way to say that there is no channel axis.
        array, channel = (np.stack(arrays), 0.0) if len(arrays) > 1 else (arrays[0], float("nan"))
        meta = {
            MetaKeys.AFFINE: affine.copy(),
            MetaKeys.ORIGINAL_AFFINE: affine.copy(),
            MetaKeys.SPACE: SpaceKeys.RAS,
            MetaKeys.SPATIAL_SHAPE: np.asarray(arrays[0].shape),
            MetaKeys.ORIGINAL_CHANNEL_DIM: channel,
        }
        return array, meta


def attach(reader: VolumeReader, preprocessing: Any, names: Sequence[str]) -> dict[str, str | list[str]]:
    """Make every loader of a bundle ask this reader first, and say what it is told to load.

    Parameters
    ----------
    reader : VolumeReader
        Registered last, and therefore asked first.
    preprocessing : Compose
        The bundle's own.
    names : sequence of str
        The pipeline's inputs, in order.

    Returns
    -------
    dict
        The sample: one key with all inputs, as channels in their order, or one key for each, named as the input.

    Raises
    ------
    BundleContract
        reason ``loader``.
    """
    loaders = [transform for transform in walk(preprocessing) if isinstance(transform, LoadImaged | LoadImage)]
    for loader in loaders:
        loader.register(reader)
    dictionaries = [loader for loader in loaders if isinstance(loader, LoadImaged)]
    wanted = dict.fromkeys(str(key) for loader in dictionaries if not loader.allow_missing_keys for key in loader.keys)
    known = dict.fromkeys(str(key) for loader in dictionaries for key in loader.keys)
    files = {name: f"{number}{SUFFIX}" for number, name in enumerate(names)}
    if len(known) == 1:
        return {next(iter(known)): [*files.values()] if len(files) > 1 else next(iter(files.values()))}
    if not set(wanted) <= set(files) <= set(known):
        raise BundleContract(
            f"The bundle loads {', '.join(known) or 'nothing'}, the pipeline has the inputs {', '.join(files)}: name each input as its "
            "key, and take what the node has not (a reference segmentation, for example) out by an override.",
            reason="loader",
        )
    return dict(files)


def walk(transform: Any) -> Iterator[Any]:
    """Every transform inside a ``Compose``, which may be nested."""
    if isinstance(transform, Compose):
        for inner in transform.transforms:
            yield from walk(inner)
    else:
        yield transform


def _each(names: Any) -> tuple[Any, ...]:
    return tuple(names) if isinstance(names, list | tuple) else (names,)
