"""Simulated heads as DICOM: four MR series of one study, drawn by the code of the brain lesion bundle."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from pipelines.isolation import OwnModules
from pipelines.phantom import uid_from
from pipelines.result import SeriesFiles
from tests.phantoms import write_series

BUNDLE = Path(__file__).parents[1] / "models" / "mr_brain_lesion"
#: Echo, repetition and inversion time in milliseconds, for the attributes only: those of the images are drawn by the phantom.
TIMES = {"t1c": (12, 550, 0), "t1": (12, 550, 0), "t2": (95, 4000, 0), "flair": (115, 9000, 2400)}
DESCRIPTIONS = {"t1c": "T1 SE AXIAL POST GAD", "t1": "T1 SE AXIAL PRE GAD", "t2": "T2 FSE AXIAL", "flair": "FLAIR AXIAL"}


def make_head(seed: int, **options: Any) -> Any:
    """One case of the bundle's own phantom (``scripts.cases.Case``); the options are those of its ``make_case``."""
    with OwnModules(BUNDLE).importable():
        return import_module("scripts.cases").make_case(seed, **options)


def truth_of(case: Any) -> Any:
    """The case's truth as a volume of the DICOM series has it: (slice, row, column)."""
    return case.truth[::-1, ::-1].transpose(2, 1, 0)


def write_head(case: Any, folder: Path) -> tuple[SeriesFiles, ...]:
    """Write the four series of a case, axial and in the order of the bundle's channels."""
    return tuple(
        write_series(_series(image[::-1, ::-1].transpose(2, 1, 0), case.affine, name, number), folder / name)
        for number, (name, image) in enumerate(zip(DESCRIPTIONS, case.images, strict=True), start=1)
    )


def _series(image: Any, affine: Any, name: str, number: int) -> list[Dataset]:
    """One MR image for each slice; the last column and row of the case, in RAS, are the first of the image, in LPS."""
    rows, columns = image.shape[1:]
    corner = affine @ np.array([columns - 1, rows - 1, 0, 1.0])
    step = float(affine[2, 2])
    datasets = []
    for index, plane in enumerate(np.clip(np.rint(image), 0, 4095).astype("<u2")):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = MRImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid_from("head", name, index)
        dataset.SpecificCharacterSet, dataset.Modality = "ISO_IR 192", "MR"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Phantom^Head", "PHANTOM-2", "19700101", "O"
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260102", "080910", "1"
        dataset.AccessionNumber, dataset.ReferringPhysicianName = "A2", ""
        dataset.Manufacturer, dataset.SeriesDescription, dataset.BodyPartExamined = "RadNode", DESCRIPTIONS[name], "HEAD"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = uid_from("head"), uid_from("head", name)
        dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = uid_from("head", "frame"), ""
        dataset.SeriesNumber, dataset.InstanceNumber, dataset.PatientPosition = number, index + 1, "HFS"
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = (["SE", "IR"] if name == "flair" else "SE"), "NONE", ""
        dataset.EchoTime, dataset.RepetitionTime, dataset.InversionTime = TIMES[name]
        dataset.ContrastBolusAgent = "GADOLINIUM" if name == "t1c" else ""
        dataset.MRAcquisitionType, dataset.EchoTrainLength, dataset.MagneticFieldStrength = "2D", 1, "1.5"
        dataset.ImagePositionPatient = [-float(corner[0]), -float(corner[1]), float(corner[2]) + index * step]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = [float(affine[1, 1]), float(affine[0, 0])], step
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows, dataset.Columns = rows, columns
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.PixelData = plane.tobytes()
        datasets.append(dataset)
    return datasets
