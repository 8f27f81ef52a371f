"""An upload among the transforms of a bundle changes nothing of what they do, nor of how it is undone."""

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, LoadImaged, Orientationd, Spacingd

from pipelines.bundle import quiet
from pipelines.reader import VolumeReader, attach
from pipelines.series import read_volume
from pipelines.upload import Uploadd, with_upload
from tests.phantoms import tiny_ct, write_series


def chain() -> Compose:
    with quiet():
        loader = LoadImaged(keys="image", ensure_channel_first=True)
    return Compose([
        loader,
        Orientationd(keys="image", axcodes="RAS", labels=None),
        Spacingd(keys="image", pixdim=(2.0, 2.0, 4.0)),
    ])  # fmt: skip


def test_the_image_and_the_way_back_stay_what_they_were(tmp_path) -> None:
    preprocessing, reader = chain(), VolumeReader()
    sample = attach(reader, preprocessing, ["image"])
    reader.volumes = (read_volume(write_series(tiny_ct(), tmp_path)),)
    moved = with_upload(preprocessing, torch.device("cpu"))
    assert [type(step) for step in moved.transforms][:2] == [LoadImaged, Uploadd]
    expected, found = preprocessing(dict(sample))["image"], moved(dict(sample))["image"]
    assert torch.equal(found.as_tensor(), expected.as_tensor())
    assert torch.equal(found.affine, expected.affine)
    back = Invertd(keys="pred", transform=preprocessing, orig_keys="image", nearest_interp=False)
    returned = back({"image": found, "pred": MetaTensor(found.as_tensor(), meta=found.meta, applied_operations=found.applied_operations)})
    assert returned["pred"].shape == (1, *reader.volumes[0].grid.shape[::-1])
    assert np.allclose(returned["pred"].affine, reader.volumes[0].grid.ras_affine)


def test_without_a_loader_nothing_changes() -> None:
    preprocessing = Compose(chain().transforms[1:])
    assert with_upload(preprocessing, torch.device("cpu")) is preprocessing


def test_images_are_moved_to_the_device() -> None:
    given = {"image": MetaTensor(torch.ones(1, 2, 2, 2)), "name": "x"}
    found = Uploadd("image", torch.device("meta"))(given)
    assert found["image"].device.type == "meta"
    assert found["name"] == "x"
