"""A radiograph is read as it is to be seen: its LUTs applied, bone bright, lengths from its own spacing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from pipelines.clock import Clock
from pipelines.errors import CodedError
from pipelines.inputs import read_inputs
from pipelines.picture import read_picture
from pipelines.result import Volume
from pipelines.spec import Pipeline
from tests.bundles.declaring import declare
from tests.phantoms import tiny_ct, write_series

STORED = np.arange(320, dtype="<u2").reshape(16, 20) * 10


def radiograph(**changes: Any) -> Dataset:
    """One image of 16 x 20 pixels, brighter to the lower right."""
    (image,) = tiny_ct()[:1]
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "RescaleType", "WindowCenter", "WindowWidth"):
        del image[keyword]
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    image.Modality, image.RescaleSlope, image.RescaleIntercept = "DX", "1", "0"
    del image.PixelSpacing
    image.ImagerPixelSpacing = ["0.2", "0.15"]
    image.PixelData = STORED.tobytes()
    for keyword, value in changes.items():
        setattr(image, keyword, value)
    return image


def read(folder: Path, *images: Dataset) -> Volume:
    return read_picture(write_series(images, folder))


def test_the_plain_image_is_one_slice_with_the_spacing_of_its_detector(tmp_path: Path) -> None:
    volume = read(tmp_path, radiograph())
    np.testing.assert_array_equal(volume.array, STORED[None])
    assert volume.grid.spacing_mm == (1.0, 0.2, 0.15)
    assert volume.grid.frame_of_reference_uid == ""
    assert volume.array.dtype == np.float32
    at_the_object = read(tmp_path / "object", radiograph(PixelSpacing=["0.1", "0.1"]))
    assert at_the_object.grid.spacing_mm[1:] == (0.1, 0.1)


def test_the_negative_is_turned(tmp_path: Path) -> None:
    negative = read(tmp_path, radiograph(PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE"))
    np.testing.assert_array_equal(negative.array, STORED.max() - STORED[None])


def test_a_window_is_applied_as_it_stands(tmp_path: Path) -> None:
    """LINEAR of PS3.3 C.11.2.1.2.1 over the 12 bits of the output."""
    shown = read(tmp_path, radiograph(WindowCenter="1000", WindowWidth="501")).array[0]
    expected = np.clip(((STORED - 999.5) / 500 + 0.5) * 4095, 0, 4095)
    np.testing.assert_allclose(shown, expected, atol=1e-2)


def lut(values: list[int], first: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(values), first, 16])
    item.add_new("LUTData", "OW", np.asarray(values, "<u2").tobytes())
    return item


def test_the_tables_are_applied_one_after_the_other(tmp_path: Path) -> None:
    image = radiograph()
    del image.RescaleSlope, image.RescaleIntercept
    modality = lut([2 * value for value in range(4096)], 0)
    modality.ModalityLUTType = "US"
    image.ModalityLUTSequence = [modality]
    image.VOILUTSequence = [lut([10_000 - value for value in range(8192)], 0)]
    np.testing.assert_array_equal(read(tmp_path, image).array[0], 10_000 - 2.0 * STORED)


def several(image: Dataset) -> list[Dataset]:
    return [image, radiograph(SOPInstanceUID=f"{image.SOPInstanceUID}.1")]


def without_spacing(image: Dataset) -> list[Dataset]:
    del image.ImagerPixelSpacing
    return [image]


def contradicting(image: Dataset) -> list[Dataset]:
    image.PresentationLUTShape = "INVERSE"
    return [image]


def coloured(image: Dataset) -> list[Dataset]:
    image.PhotometricInterpretation = "RGB"
    return [image]


def without_patient(image: Dataset) -> list[Dataset]:
    image.PatientID = ""
    return [image]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (several, "GEOMETRY.several_images"),
        (without_spacing, "GEOMETRY.missing_geometry"),
        (contradicting, "UNSUPPORTED_PIXEL_DATA.presentation"),
        (coloured, "UNSUPPORTED_PIXEL_DATA.colour"),
        (without_patient, "IDENTITY_CONFLICT.missing"),
    ],
)
def test_what_is_not_one_readable_radiograph_is_refused(change: Callable[[Dataset], list[Dataset]], code: str, tmp_path: Path) -> None:
    with pytest.raises(CodedError) as refusal:
        read(tmp_path, *change(radiograph()))
    assert refusal.value.full_code == code


def pipeline_of_an_image(output: str) -> Pipeline:
    return Pipeline.model_validate({**declare(kind=output).model_dump(), "inputs": [{"kind": "image", "modality": ["DX"]}]})


def test_a_pipeline_that_asks_for_an_image_is_given_one(tmp_path: Path) -> None:
    aligned = read_inputs(pipeline_of_an_image("scores"), [write_series([radiograph()], tmp_path)], Clock())
    assert aligned.volumes[0].array.shape == (1, 16, 20)
    assert aligned.registration == ("reference",)


def test_masks_on_a_radiograph_cannot_be_declared() -> None:
    with pytest.raises(ValidationError, match="no place in the patient"):
        pipeline_of_an_image("labelmap")
