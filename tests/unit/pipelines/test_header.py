"""A header that does not end is refused before it fills the memory; one that does is read."""

import zlib
from pathlib import Path

import pytest
from pydicom import Dataset, dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from pipelines.errors import UnsupportedPixelData
from pipelines.header import MOST_INFLATED, read_header
from pipelines.series import read_headers
from tests.unit.intake.arrivals import make_data_set


def write_deflated(path: Path) -> bytes:
    data_set = make_data_set()
    data_set.ensure_file_meta()
    data_set.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dcmwrite(path, data_set, enforce_file_format=True)
    content = path.read_bytes()
    return content[: 144 + int.from_bytes(content[140:144], "little")]


def test_what_ends_is_read(tmp_path: Path) -> None:
    write_deflated(tmp_path / "a.dcm")
    assert read_headers([tmp_path / "a.dcm"])[0].Modality == "CT"


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    before = write_deflated(tmp_path / "a.dcm")
    packer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    zeros = bytes(1 << 20)
    bomb = b"".join(packer.compress(zeros) for _ in range((MOST_INFLATED >> 20) + 1)) + packer.flush()
    (tmp_path / "bomb.dcm").write_bytes(before + bomb)
    with pytest.raises(UnsupportedPixelData, match="more than 256 MiB"):
        read_headers([tmp_path / "bomb.dcm"])


def test_a_damaged_one_is_refused_as_damaged(tmp_path: Path) -> None:
    before = write_deflated(tmp_path / "a.dcm")
    (tmp_path / "cut.dcm").write_bytes(before + b"\xff" * 500)
    with pytest.raises(UnsupportedPixelData) as caught:
        read_headers([tmp_path / "cut.dcm"])
    assert caught.value.reason == "unreadable"


def test_a_header_that_does_not_end_is_refused(tmp_path: Path) -> None:
    data_set = make_data_set(PixelData=bytes(100_000))
    dcmwrite(tmp_path / "a.dcm", _with_meta(data_set), enforce_file_format=True)
    assert read_header(tmp_path / "a.dcm", 5000).Modality == "CT", "pixels are not counted"
    data_set.add_new(0x00091000, "OB", bytes(10_000))
    dcmwrite(tmp_path / "b.dcm", _with_meta(data_set), enforce_file_format=True)
    with pytest.raises(UnsupportedPixelData, match="more before its pixels"):
        read_header(tmp_path / "b.dcm", 5000)


def _with_meta(data_set: Dataset) -> Dataset:
    data_set.ensure_file_meta()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data_set
