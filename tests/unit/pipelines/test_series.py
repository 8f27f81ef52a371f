"""Each way in which files are not one volume has its own refusal."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from pipelines.errors import GeometryError, IdentityConflict, UnsupportedPixelData
from pipelines.phantom import make_chest_ct
from pipelines.result import SeriesFiles
from pipelines.series import read_headers, read_volume
from pipelines.stacking import stack
from tests.phantoms import TINY, tilted, tiny_ct, uneven, with_duplicate, without_slice, write_series

Change = Callable[[list[Dataset]], object]


def test_slices_are_ordered_by_position_whatever_their_files_and_numbers_say(tmp_path: Path) -> None:
    phantom = make_chest_ct(shape=TINY)
    volume = read_volume(write_series(phantom.datasets, tmp_path))
    assert volume.grid.sop_instance_uids == tuple(dataset.SOPInstanceUID for dataset in phantom.datasets)
    assert [header.SOPInstanceUID for header in volume.headers] == list(volume.grid.sop_instance_uids)
    np.testing.assert_array_equal(volume.array, phantom.hounsfield)
    assert volume.array.dtype == np.float32


def test_headers_carry_no_pixels(tmp_path: Path) -> None:
    volume = read_volume(write_series(tiny_ct(), tmp_path))
    assert not any("PixelData" in header for header in volume.headers)


def set_on(index: int | None, keyword: str, value: object) -> Change:
    def change(datasets: list[Dataset]) -> None:
        for dataset in datasets if index is None else [datasets[index]]:
            setattr(dataset, keyword, value)

    return change


def drop(keyword: str) -> Change:
    def change(datasets: list[Dataset]) -> None:
        del datasets[1][keyword]

    return change


GEOMETRY = [
    ("localizer", set_on(0, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"])),
    ("missing_geometry", drop("ImagePositionPatient")),
    ("missing_geometry", drop("ImageOrientationPatient")),
    ("missing_geometry", drop("PixelSpacing")),
    ("missing_geometry", set_on(None, "FrameOfReferenceUID", "")),
    ("mixed_frame_of_reference", set_on(3, "FrameOfReferenceUID", "1.2.3")),
    ("mixed_frame_of_reference", drop("FrameOfReferenceUID")),
    ("mixed_orientation", set_on(3, "ImageOrientationPatient", [0, 1, 0, 0, 0, -1])),
    ("mixed_matrix", set_on(3, "PixelSpacing", [1.5, 1.6])),
    ("mixed_matrix", set_on(3, "Rows", 8)),
    ("invalid_geometry", set_on(3, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0])),
    ("invalid_geometry", set_on(3, "ImageOrientationPatient", [2, 0, 0, 0, 1, 0])),
    ("invalid_geometry", set_on(None, "PixelSpacing", [0, 0])),
    ("too_few", lambda datasets: datasets.__delitem__(slice(2, None))),
    ("duplicate_position", lambda datasets: datasets.__setitem__(slice(None), with_duplicate(datasets))),
    ("gap", lambda datasets: datasets.__setitem__(slice(None), without_slice(datasets))),
    ("gap", uneven),
    ("tilt", tilted),
]


@pytest.mark.parametrize(("reason", "change"), GEOMETRY)
def test_odd_geometry_is_refused_with_its_reason(reason: str, change: Change, tmp_path: Path) -> None:
    datasets = tiny_ct()
    change(datasets)
    with pytest.raises(GeometryError) as refusal:
        read_volume(write_series(datasets, tmp_path))
    assert refusal.value.reason == reason


def test_not_a_number_as_a_position_is_refused() -> None:
    datasets = tiny_ct()
    datasets[2].ImagePositionPatient = [float("nan"), 0.0, 0.0]
    with pytest.raises(GeometryError) as refusal:
        stack(datasets)
    assert refusal.value.reason == "invalid_geometry"


def test_a_gap_is_named_by_its_place() -> None:
    datasets = tiny_ct()
    below = float(datasets[1].ImagePositionPatient[2])
    with pytest.raises(GeometryError, match=rf"10\.00 mm apart at {below:.1f} mm"):
        stack(without_slice(datasets))


def test_an_empty_series_is_refused() -> None:
    with pytest.raises(GeometryError) as refusal:
        read_volume(SeriesFiles(series_instance_uid="1.2", paths=()))
    assert refusal.value.reason == "too_few"


@pytest.mark.parametrize("shift_mm", [-0.09, 0.2])
def test_positions_that_jitter_by_rounding_are_accepted(shift_mm: float) -> None:
    _, grid = stack(uneven(tiny_ct(), shift_mm=shift_mm))
    assert grid.spacing_mm[0] == pytest.approx(5.0)


def test_drift_that_adds_up_is_refused() -> None:
    datasets = tiny_ct(shape=(40, 16, 20))
    for number, dataset in enumerate(datasets):
        x, y, z = (float(value) for value in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, y, z + 0.004 * number**2]
    with pytest.raises(GeometryError) as refusal:
        stack(datasets)
    assert refusal.value.reason == "gap"


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_mixed_identity_is_refused_without_being_repeated(keyword: str, tmp_path: Path) -> None:
    datasets = tiny_ct()
    setattr(datasets[4], keyword, "1.2.3.999")
    with pytest.raises(IdentityConflict, match=keyword) as refusal:
        read_volume(write_series(datasets, tmp_path))
    assert refusal.value.reason == "mixed"
    assert "999" not in refusal.value.sentence


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_missing_identity_is_refused(keyword: str, tmp_path: Path) -> None:
    datasets = tiny_ct()
    set_on(None, keyword, "")(datasets)
    with pytest.raises(IdentityConflict, match=keyword) as refusal:
        read_volume(write_series(datasets, tmp_path))
    assert refusal.value.reason == "missing"


def test_a_series_under_another_uid_is_refused(tmp_path: Path) -> None:
    files = write_series(tiny_ct(), tmp_path)
    with pytest.raises(IdentityConflict):
        read_volume(SeriesFiles(series_instance_uid="1.2.3", paths=files.paths))


def test_what_is_not_dicom_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "note.dcm"
    path.write_bytes(b"no DICOM here" * 30)
    with pytest.raises(UnsupportedPixelData) as refusal:
        read_headers([path])
    assert refusal.value.reason == "unreadable"


def test_the_grid_may_be_declined_before_any_pixel_is_read(tmp_path: Path) -> None:
    datasets = tiny_ct()
    for dataset in datasets:
        del dataset.PixelData

    def decline(grid: object) -> None:
        raise GeometryError("too large", reason="too_large")

    with pytest.raises(GeometryError) as refusal:
        read_volume(write_series(datasets, tmp_path), accept=decline)
    assert refusal.value.reason == "too_large"
