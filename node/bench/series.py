"""Series to send, made by code: realistic headers, pixels of noise, every instance its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from node.core.uids import derive_uid


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of instance."""

    sop_class_uid: UID
    modality: str
    rows: int
    frames: int
    count: int


KINDS: Mapping[str, Kind] = {
    "ct": Kind(sop_class_uid=CTImageStorage, modality="CT", rows=512, frames=1, count=1200),
    "mr": Kind(sop_class_uid=MRImageStorage, modality="MR", rows=256, frames=1, count=3000),
    "multi-frame": Kind(sop_class_uid=EnhancedCTImageStorage, modality="CT", rows=512, frames=200, count=8),
}


def write_series(kind: str, folder: Path, count: int | None = None) -> list[Path]:
    """Write one series of ``kind`` into ``folder``; the same call gives the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    what = KINDS[kind]
    noise = np.random.default_rng(0).integers(0, 2000, (what.frames, what.rows, what.rows), dtype=np.int16)
    return [_write(kind, what, number, noise, folder) for number in range(count or what.count)]


def _write(kind: str, what: Kind, number: int, noise: np.ndarray, folder: Path) -> Path:
    path = folder / f"{number:06d}.dcm"
    if path.exists():
        return path
    data_set = Dataset()
    data_set.SpecificCharacterSet = "ISO_IR 100"
    data_set.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data_set.SOPClassUID = what.sop_class_uid
    data_set.SOPInstanceUID = UID(derive_uid("bench", kind, "instance", str(number)))
    data_set.StudyDate = data_set.SeriesDate = "20260101"
    data_set.Modality = what.modality
    data_set.Manufacturer = "RadNode bench"
    data_set.SeriesDescription = f"bench {kind}"
    data_set.PatientName, data_set.PatientID = "Bench^Phantom", "BENCH-1"
    data_set.StudyInstanceUID = UID(derive_uid("bench", kind, "study"))
    data_set.SeriesInstanceUID = UID(derive_uid("bench", kind, "series"))
    data_set.InstanceNumber = number + 1
    data_set.ImagePositionPatient, data_set.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.Rows = data_set.Columns = what.rows
    if what.frames > 1:
        data_set.NumberOfFrames = what.frames
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation = 16, 16, 15, 1
    data_set.PixelData = (noise + np.int16(number)).tobytes()
    data_set["PixelData"].VR = "OW"
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.save_as(path, enforce_file_format=True)
    return path
