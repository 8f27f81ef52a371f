"""Several images lie on each other in the patient, whatever grids they came on, or they are refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.alignment import align
from pipelines.errors import CodedError
from pipelines.result import Volume
from pipelines.series import read_volume
from tests.phantoms import CORONAL, oblique, tiny_ct, write_series


def volume(folder: Path, name: str, **options: Any) -> Volume:
    """A tiny series whose values are a plane in patient coordinates, so that any right interpolation is exact."""
    changes = options.pop("changes", {})
    datasets = tiny_ct(**options)
    for dataset in datasets:
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
    read = read_volume(write_series(datasets, folder / name))
    return Volume(array=plane(read), grid=read.grid, headers=read.headers, series_instance_uid=read.series_instance_uid)


def plane(read: Volume) -> np.ndarray:
    indices = np.indices(read.grid.shape).reshape(3, -1)
    x, y, z = (read.grid.affine @ np.vstack([indices, np.ones(indices.shape[1])]))[:3]
    return (3 * x - 2 * y + 5 * z).reshape(read.grid.shape).astype(np.float32)


def test_the_same_grid_is_left_as_it_is(tmp_path: Path) -> None:
    one, other = volume(tmp_path, "one"), volume(tmp_path, "other", seed=1)
    aligned = align([one, other])
    assert aligned.registration == ("reference", "same_grid")
    assert aligned.volumes == (one, other)


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (20, 40, 40), "spacing_mm": (3.0, 1.1, 1.3)},
        {"shape": (40, 60, 60), "spacing_mm": (2.0, 2.0, 2.0), "orientation": CORONAL},
        {"shape": (40, 50, 50), "spacing_mm": (3.0, 2.0, 2.5), "orientation": oblique(20)},
    ],
    ids=["finer", "coronal", "oblique"],
)
def test_another_grid_in_the_same_space_is_resampled(options: dict[str, Any], tmp_path: Path) -> None:
    first, other = volume(tmp_path, "first"), volume(tmp_path, "other", seed=1, **options)
    aligned = align([first, other, other])
    assert aligned.registration == ("reference", "resampled", "resampled")
    moved = aligned.volumes[1]
    assert moved.grid is first.grid
    assert moved.headers is other.headers
    assert moved.array.dtype == np.float32
    # positions are written with six decimals
    np.testing.assert_allclose(moved.array, first.array, atol=0.01)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"changes": {"FrameOfReferenceUID": "1.2.3"}}, "GEOMETRY.not_registered"),
        ({"shape": (4, 16, 20)}, "GEOMETRY.not_covered"),
        ({"shape": (6, 16, 20), "orientation": oblique(30)}, "GEOMETRY.not_covered"),
        ({"changes": {"PatientID": "OTHER"}}, "IDENTITY_CONFLICT.mixed"),
        ({"study_name": "another"}, "IDENTITY_CONFLICT.mixed"),
    ],
)
def test_what_would_be_a_guess_is_refused(options: dict[str, Any], code: str, tmp_path: Path) -> None:
    with pytest.raises(CodedError) as refusal:
        align([volume(tmp_path, "first"), volume(tmp_path, "other", seed=1, **options)])
    assert refusal.value.full_code == code


def test_edges_that_differ_by_less_than_half_a_voxel_are_covered(tmp_path: Path) -> None:
    first, other = volume(tmp_path, "first"), volume(tmp_path, "other", seed=1)
    grid = other.grid
    shifted = grid.affine.copy()
    shifted[:3, 3] += 0.4 * shifted[:3, 2]
    moved = Volume(
        array=other.array,
        grid=type(grid)(shape=grid.shape, affine=shifted, frame_of_reference_uid=grid.frame_of_reference_uid, sop_instance_uids=()),
        headers=other.headers,
        series_instance_uid=other.series_instance_uid,
    )
    assert align([first, moved]).registration == ("reference", "resampled")
