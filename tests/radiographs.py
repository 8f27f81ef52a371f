"""Simulated radiographs as DICOM, drawn by the code of the radiograph bundle."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import DigitalXRayImageStorageForPresentation

from pipelines.isolation import OwnModules
from tests.phantoms import tiny_ct

BUNDLE = Path(__file__).parents[1] / "models" / "cxr_findings"
#: Seeds on which nothing was trained or chosen (docs/README.md of the bundle): the first of each kind from 95000 on.
RIGHT_EFFUSION, NOTHING, HEART, LEFT_EFFUSION = 95000, 95001, 95003, 95004
#: A pixel of the phantom becomes so many of the detector.
FINER = 4


def make_radiograph(seed: int) -> Any:
    """One radiograph of the bundle's own phantom (``scripts.radiograph.Radiograph``)."""
    with OwnModules(BUNDLE).importable():
        return import_module("scripts.radiograph").make_radiograph(seed)


def as_dicom(image: NDArray[np.float32], *, negative: bool = False) -> Dataset:
    """One image of Digital X-Ray Image Storage - For Presentation."""
    stored = np.rint(np.kron(image, np.ones((FINER, FINER))) * 4095).astype("<u2")
    dataset = tiny_ct(study_name="radiograph")[0]
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "RescaleType", "PixelSpacing"):
        del dataset[keyword]
    del dataset.WindowCenter, dataset.WindowWidth
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.Modality, dataset.BodyPartExamined, dataset.ViewPosition = "DX", "CHEST", "PA"
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.ImagerPixelSpacing = "1", "0", ["0.5", "0.5"]
    dataset.PhotometricInterpretation = "MONOCHROME1" if negative else "MONOCHROME2"
    dataset.PresentationLUTShape = "INVERSE" if negative else "IDENTITY"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.PixelData = (4095 - stored if negative else stored).astype("<u2").tobytes()
    return dataset
