"""Slices that are decoded side by side are those that are decoded one after the other."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, RLELossless

from pipelines.errors import UnsupportedPixelData
from pipelines.frames import slices_of
from pipelines.pixels import is_compressed
from pipelines.result import SeriesFiles
from pipelines.series import read_headers, read_volume
from tests.phantoms import tiny_ct, write_series

#: JPEG 2000 wants an image that can be halved five times.
SHAPE = (10, 64, 64)


def compressed(folder: Path, syntax: str) -> SeriesFiles:
    datasets = tiny_ct(shape=SHAPE)
    for dataset in datasets:
        dataset.compress(syntax, generate_instance_uid=False)
    return write_series(datasets, folder)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless])
def test_threads_change_no_voxel(syntax: str, tmp_path: Path) -> None:
    plain = read_volume(write_series(tiny_ct(shape=SHAPE), tmp_path / "plain"))
    found = read_volume(compressed(tmp_path / "compressed", syntax))
    assert found.grid.sop_instance_uids == plain.grid.sop_instance_uids
    assert np.array_equal(found.array, plain.array)


def test_which_slices_are_decoded_side_by_side(tmp_path: Path) -> None:
    given = {"plain": write_series(tiny_ct(), tmp_path / "plain"), "compressed": compressed(tmp_path / "compressed", RLELossless)}
    said = {name: {is_compressed(each) for each in slices_of(read_headers(files.paths))} for name, files in given.items()}
    assert said == {"plain": {False}, "compressed": {True}}


def test_one_damaged_slice_refuses_the_series(tmp_path: Path) -> None:
    files = compressed(tmp_path, JPEG2000Lossless)
    damaged = dcmread(files.paths[7])
    damaged.PixelData = damaged.PixelData[:60] + bytes(len(damaged.PixelData) - 60)
    damaged.save_as(files.paths[7])
    with pytest.raises(UnsupportedPixelData, match="undecodable"):
        read_volume(files)
