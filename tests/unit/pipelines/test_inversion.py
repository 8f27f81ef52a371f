"""One step instead of two must give the labels that MONAI's two give."""

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Activationsd, AsDiscreted, CenterSpatialCropd, Compose, Invertd, Orientationd, Spacingd

from pipelines.inversion import InvertArgmaxd, argmax_along_axes, fuse

SHAPE = (31, 26, 19)


def affine(turn: float = 0.2, flips: tuple[int, int, int] = (-1, 1, -1), order: tuple[int, int, int] = (2, 0, 1)) -> torch.Tensor:
    """An oblique grid with uneven spacing, axes in any order and direction."""
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ np.diag([0.8, 1.1, 2.7]) @ np.diag(flips)
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = turned[:, order], (12.0, -30.0, 7.0)
    return torch.from_numpy(whole)


def chain(*more: Any) -> Compose:
    return Compose([
        Orientationd(keys="image", axcodes="RAS", labels=None),
        Spacingd(keys="image", pixdim=(1.5, 1.5, 2.0), mode="bilinear"),
        *more,
    ])  # fmt: skip


def ends(preprocessing: Compose, **changes: Any) -> Compose:
    invert = {"keys": "pred", "transform": preprocessing, "orig_keys": "image", "nearest_interp": False, "to_tensor": True}
    return Compose([Activationsd(keys="pred", softmax=True), Invertd(**{**invert, **changes}), AsDiscreted(keys="pred", argmax=True)])


def sample(preprocessing: Compose, classes: int, where: torch.Tensor) -> dict[str, Any]:
    """An image that was preprocessed, and scores that vary smoothly, as those of a network do."""
    torch.manual_seed(0)
    image = preprocessing({"image": MetaTensor(torch.rand(1, *SHAPE), affine=where)})["image"]
    coarse = torch.randn(1, classes, 5, 5, 5)
    scores = torch.nn.functional.interpolate(coarse, image.shape[1:], mode="trilinear")[0] * 4
    return {"image": image, "pred": MetaTensor(scores, meta=image.meta, applied_operations=image.applied_operations)}


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("turn", [0.0, 0.2])
@pytest.mark.parametrize(("flips", "order"), [((-1, 1, -1), (2, 0, 1)), ((1, 1, 1), (0, 1, 2)), ((-1, -1, 1), (1, 0, 2))])
def test_the_labels_are_those_of_two_steps(classes, turn, flips, order) -> None:
    preprocessing, where = chain(), affine(turn, flips, order)
    given = sample(preprocessing, classes, where)
    expected = ends(preprocessing)(dict(given))["pred"]
    fused = fuse(ends(preprocessing))
    assert any(isinstance(step, InvertArgmaxd) for step in fused.transforms)
    found = fused(dict(given))["pred"]
    assert found.shape == expected.shape == (1, *SHAPE)
    assert torch.allclose(found.affine, where)
    assert torch.allclose(found.affine, expected.affine)
    assert len(torch.unique(found)) == classes
    assert torch.equal(found.as_tensor(), expected.as_tensor())


@pytest.mark.parametrize("classes", [2, 3])
def test_interpolation_alone_agrees_to_the_last_bits_but_one(classes) -> None:
    torch.manual_seed(1)
    values = torch.rand(classes, 9, 8, 7)
    scale, offset, size = (0.53, 0.71, 1.9), (0.2, -0.4, 0.9), (15, 12, 5)
    grid = torch.stack(
        torch.meshgrid(
            *(
                ((torch.arange(n, dtype=torch.float64) * s + o) * 2 + 1) / length - 1
                for n, s, o, length in zip(size, scale, offset, values.shape[1:], strict=True)
            ),
            indexing="ij",
        )[::-1],
        dim=-1,
    )
    exact = torch.nn.functional.grid_sample(values[None].double(), grid[None], mode="bilinear", padding_mode="border", align_corners=False)[
        0
    ]
    labels = argmax_along_axes(values, scale, offset, size)
    top = exact.max(dim=0).values
    chosen = exact.gather(0, labels[None].long())[0]
    assert float((top - chosen).max()) < 1e-6, "the class that was chosen is the greatest, but for rounding"


def test_of_equal_ones_the_first() -> None:
    labels = argmax_along_axes(torch.full((3, 4, 4, 4), 0.25), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (4, 4, 4))
    assert int(labels.max()) == 0


@pytest.mark.parametrize("what", ["nearest", "post_func", "crop", "threshold", "sigmoid"])
def test_what_is_not_that_pair_is_left_to_monai(what) -> None:
    """Nothing is fused that would mean something else; the labels are those of the bundle."""
    preprocessing = chain(CenterSpatialCropd(keys="image", roi_size=(12, -1, -1))) if what == "crop" else chain()
    changes = {"nearest": {"nearest_interp": True}, "post_func": {"post_func": torch.sqrt}}.get(what, {})
    post = ends(preprocessing, **changes)
    if what == "threshold":
        post = Compose([*post.transforms[:2], AsDiscreted(keys="pred", argmax=True, threshold=0.5)])
    if what == "sigmoid":
        post = Compose([Activationsd(keys="pred", sigmoid=True), post.transforms[1], AsDiscreted(keys="pred", threshold=0.5)])
    given = sample(preprocessing, 3, affine())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, found = post(dict(given))["pred"], fuse(post)(dict(given))["pred"]
    assert torch.equal(found.as_tensor(), expected.as_tensor())
