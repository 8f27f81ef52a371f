"""Stored values become modality units exactly, or not at all."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from pipelines.errors import UnsupportedPixelData
from pipelines.pixels import read_slice
from tests.phantoms import tiny_ct

# JPEG 2000 wants an image that can be halved five times.
SHAPE = (64, 72)


@pytest.fixture
def dataset() -> Dataset:
    return tiny_ct(shape=(3, *SHAPE))[1]


def read(dataset: Dataset, folder: Path) -> NDArray[np.float32]:
    path = folder / "slice.dcm"
    dataset.save_as(path, enforce_file_format=True)
    out = np.full(SHAPE, np.nan, dtype=np.float32)
    read_slice(path, out)
    return out


def store(dataset: Dataset, values: NDArray[np.int64], *, allocated: int, stored: int, signed: bool) -> None:
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = allocated, stored, stored - 1, int(signed)
    dataset.PixelData = values.astype(f"<{'i' if signed else 'u'}{allocated // 8}").tobytes()


def test_rescale_is_applied_slice_by_slice(dataset: Dataset, tmp_path: Path) -> None:
    plain = read(dataset, tmp_path)
    dataset.RescaleSlope, dataset.RescaleIntercept = "2.5", "-100"
    np.testing.assert_allclose(read(dataset, tmp_path), (plain + 1024) * 2.5 - 100)


@pytest.mark.parametrize(("allocated", "stored"), [(8, 8), (8, 6), (16, 16), (16, 12), (32, 20)])
@pytest.mark.parametrize("signed", [False, True])
def test_every_depth_and_sign_is_read(dataset: Dataset, tmp_path: Path, allocated: int, stored: int, signed: bool) -> None:
    low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1)) if signed else (0, 2**stored)
    values = np.random.default_rng(1).integers(low, high, SHAPE)
    values[0, :2] = low, high - 1
    store(dataset, values, allocated=allocated, stored=stored, signed=signed)
    np.testing.assert_array_equal(read(dataset, tmp_path), values - 1024)


@pytest.mark.parametrize("signed", [False, True])
def test_what_lies_above_bits_stored_is_no_part_of_the_value(dataset: Dataset, tmp_path: Path, signed: bool) -> None:
    values = np.random.default_rng(2).integers(-2048 if signed else 0, 2048 if signed else 4096, SHAPE)
    store(dataset, values, allocated=16, stored=12, signed=signed)
    clean = read(dataset, tmp_path)
    raw = np.frombuffer(dataset.PixelData, "<u2")
    overlay = np.random.default_rng(3).integers(0, 16, raw.shape).astype("<u2") << 12
    dataset.PixelData = ((raw & 0x0FFF) | overlay).tobytes()
    np.testing.assert_array_equal(read(dataset, tmp_path), clean)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_native_transfer_syntaxes_give_the_same_values(dataset: Dataset, tmp_path: Path, syntax: str) -> None:
    plain = read(dataset, tmp_path)
    dataset.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(read(dataset, tmp_path), plain)


def test_big_endian_gives_the_same_values(dataset: Dataset, tmp_path: Path) -> None:
    plain = read(dataset, tmp_path)
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    dataset["PixelData"].VR = "OW"
    big = Dataset()
    big.update(dataset)
    big.file_meta = dataset.file_meta
    np.testing.assert_array_equal(read(big, tmp_path), plain)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_lossless_compression_gives_the_same_values(dataset: Dataset, tmp_path: Path, syntax: str) -> None:
    plain = read(dataset, tmp_path)
    dataset.compress(syntax, generate_instance_uid=False)
    np.testing.assert_array_equal(read(dataset, tmp_path), plain)


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("SamplesPerPixel", 3, "colour"),
        ("PhotometricInterpretation", "PALETTE COLOR", "colour"),
        ("NumberOfFrames", 2, "multiframe"),
        ("BitsAllocated", 1, "bits"),
        ("BitsStored", 17, "bits"),
        ("HighBit", 15, "bits"),
        ("PixelRepresentation", 2, "bits"),
        ("Rows", 15, "matrix"),
        ("PixelData", b"\0\0", "truncated"),
        ("PixelData", None, "no_pixels"),
        ("RescaleSlope", None, "rescale"),
        ("RescaleIntercept", None, "rescale"),
        ("RescaleSlope", "0", "rescale"),
        ("RescaleType", "US", "rescale_type"),
        ("ModalityLUTSequence", [Dataset()], "modality_lut"),
    ],
)
def test_what_cannot_be_trusted_is_refused(dataset: Dataset, tmp_path: Path, keyword: str, value: object, reason: str) -> None:
    if value is None:
        del dataset[keyword]
    else:
        setattr(dataset, keyword, value)
    with pytest.raises(UnsupportedPixelData) as refusal:
        read(dataset, tmp_path)
    assert refusal.value.reason == reason


def test_a_damaged_codestream_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    dataset.PixelData = dataset.PixelData[:20] + b"\0" * (len(dataset.PixelData) - 20)
    with pytest.raises(UnsupportedPixelData) as refusal:
        read(dataset, tmp_path)
    assert refusal.value.reason == "undecodable"


def test_other_modalities_need_no_rescale(dataset: Dataset, tmp_path: Path) -> None:
    plain = read(dataset, tmp_path)
    dataset.Modality = "MR"
    del dataset.RescaleSlope, dataset.RescaleIntercept
    np.testing.assert_array_equal(read(dataset, tmp_path), plain + 1024)
