"""A multi-frame instance reads like the classic series of the same slices."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from pipelines.errors import CodedError
from pipelines.frames import slices_of
from pipelines.series import read_volume
from tests.phantoms import multiframe, oblique, tiny_ct, write_series

SHUFFLED = (3, 0, 5, 1, 4, 2)


@pytest.mark.parametrize("shared", [(), ("orientation", "measures"), ("orientation", "measures", "values")], ids=["none", "some", "most"])
def test_an_enhanced_instance_is_the_volume_of_its_classic_slices(shared: tuple[str, ...], tmp_path: Path) -> None:
    datasets = tiny_ct(orientation=oblique(), spacing_mm=(5.0, 1.5, 2.5))
    classic = read_volume(write_series(datasets, tmp_path / "classic"))
    image = multiframe(datasets, SHUFFLED, shared=shared)
    enhanced = read_volume(write_series([image], tmp_path / "enhanced"))
    np.testing.assert_array_equal(enhanced.array, classic.array)
    np.testing.assert_array_equal(enhanced.grid.affine, classic.grid.affine)
    assert enhanced.grid.frame_of_reference_uid == classic.grid.frame_of_reference_uid
    assert enhanced.grid.sop_instance_uids == (image.SOPInstanceUID,) * 6
    # the frame that holds slice 0 is the second, that of slice 1 the fourth ...
    assert enhanced.grid.frame_numbers == (2, 4, 6, 1, 5, 3)
    assert classic.grid.frame_numbers == ()


def test_each_slice_has_a_header_as_a_classic_image_has_it(tmp_path: Path) -> None:
    datasets = tiny_ct()
    image = multiframe(datasets, SHUFFLED)
    headers = read_volume(write_series([image], tmp_path)).headers
    for header, dataset in zip(headers, datasets, strict=True):
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "PatientID", "ImageType"):
            assert header[keyword].value == dataset[keyword].value
        assert header.SOPInstanceUID == image.SOPInstanceUID
        assert "PerFrameFunctionalGroupsSequence" not in header
        assert header.file_meta.TransferSyntaxUID == image.file_meta.TransferSyntaxUID


def test_each_frame_has_its_own_rescale(tmp_path: Path) -> None:
    datasets = tiny_ct()
    whole = read_volume(write_series(datasets, tmp_path / "as it is")).array
    datasets[2].RescaleSlope, datasets[2].RescaleIntercept = "2", "-100"
    rescaled = read_volume(write_series([multiframe(datasets)], tmp_path / "rescaled")).array
    expected = whole.copy()
    expected[2] = (whole[2] + 1024) * 2 - 100
    np.testing.assert_array_equal(rescaled, expected)


def test_text_in_a_header_of_many_frames_keeps_its_character_set(tmp_path: Path) -> None:
    image = multiframe(tiny_ct())
    image.SpecificCharacterSet, image.PatientName = "ISO_IR 100", "Äneas^Phantom"
    assert {str(header.PatientName) for header in read_volume(write_series([image], tmp_path)).headers} == {"Äneas^Phantom"}


def test_frames_that_are_compressed_one_by_one_read_alike(tmp_path: Path) -> None:
    datasets = tiny_ct()
    image = multiframe(datasets, SHUFFLED)
    native = read_volume(write_series([image], tmp_path / "native")).array
    image.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(read_volume(write_series([image], tmp_path / "packed")).array, native)


def lose_a_group(image: Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence[2]


def lose_a_position(image: Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence[2]["PlanePositionSequence"]


def repeat_a_position(image: Dataset) -> None:
    groups = image.PerFrameFunctionalGroupsSequence
    groups[2].PlanePositionSequence = groups[3].PlanePositionSequence


def lose_pixels(image: Dataset) -> None:
    image.PixelData = image.PixelData[:-1000]


def lose_the_rescale(image: Dataset) -> None:
    del image.PerFrameFunctionalGroupsSequence[2]["PixelValueTransformationSequence"]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (lose_a_group, "UNSUPPORTED_PIXEL_DATA.frames"),
        (lose_a_position, "GEOMETRY.missing_geometry"),
        (repeat_a_position, "GEOMETRY.duplicate_position"),
        (lose_pixels, "UNSUPPORTED_PIXEL_DATA.undecodable"),
        (lose_the_rescale, "UNSUPPORTED_PIXEL_DATA.rescale"),
    ],
)
def test_a_fault_in_one_frame_refuses_the_whole(fault: Callable[[Dataset], None], code: str, tmp_path: Path) -> None:
    image = multiframe(tiny_ct())
    fault(image)
    with pytest.raises(CodedError) as refusal:
        read_volume(write_series([image], tmp_path))
    assert refusal.value.full_code == code


def test_single_and_many_frames_do_not_mix() -> None:
    datasets = tiny_ct()
    with pytest.raises(CodedError) as refusal:
        slices_of([multiframe(datasets), *datasets])
    assert refusal.value.full_code == "UNSUPPORTED_PIXEL_DATA.frames"
