"""Two boxes whose numbers can be worked out on paper."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from pipelines.errors import EvaluationError
from pipelines.evaluation.masks import Masks, on_one_grid, placed, read_label_file
from pipelines.evaluation.segmentation import compare, evaluate_masks

SPACING = (2.0, 1.0, 0.5)
RAS = np.diag([*SPACING, 1.0])


def box(start: tuple[int, int, int], size: tuple[int, int, int], shape: tuple[int, int, int] = (20, 20, 20)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(begin, begin + length) for begin, length in zip(start, size, strict=True))] = True
    return mask


def test_two_boxes_that_share_half() -> None:
    # 4x4x4 voxels each, the second moved by 2 along the first axis: 32 of 64 voxels shared, Dice 2*32/128. Every edge voxel of one that
    # sticks out lies 1 or 2 voxels of 2 mm from the other's surface, and one in twenty or more lies 2 away.
    found = compare(box((2, 2, 2), (4, 4, 4)), box((4, 2, 2), (4, 4, 4)), SPACING)
    assert found["dice"] == pytest.approx(0.5)
    assert found["hausdorff_95_mm"] == pytest.approx(4.0)
    assert found["reference_ml"] == pytest.approx(0.064)
    assert found["volume_error_ml"] == pytest.approx(0.0)


def test_the_distance_knows_the_spacing_of_each_axis() -> None:
    # Moved by its own thickness of one voxel: every surface voxel is that far from the other box.
    for axis, step in enumerate(SPACING):
        start = [5, 5, 5]
        start[axis] += 1
        size = [3, 3, 3]
        size[axis] = 1
        found = compare(box((5, 5, 5), tuple(size)), box(tuple(start), tuple(size)), SPACING)
        assert found["hausdorff_95_mm"] == pytest.approx(step)
        assert found["dice"] == 0.0


def test_volume_error_has_a_sign() -> None:
    found = compare(box((2, 2, 2), (4, 4, 4)), box((2, 2, 2), (2, 4, 4)), SPACING)
    assert found["volume_error_percent"] == pytest.approx(-50.0)
    assert found["dice"] == pytest.approx(2 * 32 / 96)


def test_what_is_missing_is_counted_and_what_is_rightly_absent_is_not() -> None:
    nothing, something = np.zeros((20, 20, 20), dtype=bool), box((1, 1, 1), (2, 2, 2))
    assert compare(something, nothing, SPACING)["dice"] == 0.0
    assert compare(nothing, something, SPACING)["dice"] == 0.0
    assert compare(nothing, nothing, SPACING)["dice"] is None
    pairs = [(case, masks(organ=truth), masks(organ=found)) for case, truth, found in
             [("a", something, something), ("b", something, nothing), ("c", nothing, nothing)]]  # fmt: skip
    dice = evaluate_masks("three", pairs, 50).estimates[0]
    assert (dice.subject, dice.measure, dice.value, dice.cases) == ("organ", "Dice", 0.5, 2)
    assert (dice.low, dice.high) == (0.0, 1.0)


def masks(affine: np.ndarray = RAS, **by_name: np.ndarray) -> Masks:
    return placed(by_name, affine)


def test_segments_cut_to_their_slices_are_laid_where_they_belong() -> None:
    whole, shifted = box((2, 2, 2), (4, 4, 4)), RAS.copy()
    shifted[:3, 3] = (RAS @ [1, 0, 0, 1])[:3]
    first, second = on_one_grid(masks(organ=whole[:8]), masks(shifted, organ=whole[1:]))
    assert first.by_name["organ"].shape == second.by_name["organ"].shape == (20, 20, 20)
    assert np.array_equal(first.by_name["organ"], second.by_name["organ"])


def test_grids_that_do_not_meet_are_refused() -> None:
    whole, half = box((2, 2, 2), (4, 4, 4)), RAS.copy()
    half[0, 3] = 1.0
    with pytest.raises(EvaluationError, match="one grid"):
        on_one_grid(masks(organ=whole), masks(half, organ=whole))
    with pytest.raises(EvaluationError, match="one grid"):
        on_one_grid(masks(organ=whole), masks(np.diag([2.0, 1.0, 0.52, 1.0]), organ=whole))


def test_names_that_never_meet_are_refused() -> None:
    with pytest.raises(EvaluationError, match="same name"):
        on_one_grid(masks(spleen=box((1, 1, 1), (2, 2, 2))), masks(Spleen=box((1, 1, 1), (2, 2, 2))))


def test_label_files_of_both_kinds_say_the_same(tmp_path: Path) -> None:
    labels = box((2, 3, 4), (4, 5, 6)).astype(np.uint8) + 2 * box((10, 3, 4), (2, 2, 2)).astype(np.uint8)
    lps = np.array([[0, 0, 0.5, -7.0], [0, 1.0, 0, 11.0], [2.0, 0, 0, 3.0], [0, 0, 0, 1.0]])
    np.savez_compressed(tmp_path / "a.npz", labels=labels, affine_lps=lps)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps @ np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0), ras), tmp_path / "a.nii.gz")
    names = {1: "Right lung", 2: "Left lung"}
    first, second = on_one_grid(read_label_file(tmp_path / "a.npz", names), read_label_file(tmp_path / "a.nii.gz", names))
    assert sorted(first.by_name) == ["Left lung", "Right lung"]
    assert all(np.array_equal(first.by_name[name], second.by_name[name]) for name in first.by_name)
    assert first.by_name["Right lung"].sum() == 120
    assert first.spacing_mm == pytest.approx((0.5, 1.0, 2.0))


def test_channels_may_overlap(tmp_path: Path) -> None:
    channels = np.stack([box((2, 2, 2), (4, 4, 4)), box((2, 2, 2), (2, 2, 2))])
    np.savez_compressed(tmp_path / "a.npz", labels=channels, affine_lps=np.eye(4))
    found = read_label_file(tmp_path / "a.npz", {1: "whole", 2: "core"})
    assert {name: int(mask.sum()) for name, mask in found.by_name.items()} == {"whole": 64, "core": 8}


def test_fractions_are_no_labels(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.full((3, 3, 3), 0.5, dtype=np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(EvaluationError, match="fractions"):
        read_label_file(tmp_path / "a.nii.gz", {})
    (tmp_path / "b.npz").write_bytes(b"nothing")
    with pytest.raises(EvaluationError, match="no label file"):
        read_label_file(tmp_path / "b.npz", {})
