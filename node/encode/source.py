"""The source instances as highdicom is shown them: their place and their identifiers, and no patient."""

from __future__ import annotations

from copy import deepcopy

from pydicom.dataset import Dataset

from pipelines.result import Inference

#: What an encoder needs of a source image to reference it and to lie on its grid.
_PLACE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "Rows",
    "Columns",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "ImagePositionPatient",
    "PixelSpacing",
    "SliceThickness",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)

#: What highdicom reads unconditionally. It is left empty here and copied as it stands later: highdicom would refuse a
#: birth date or a sex that is not quite DICOM, and would write a strange name into the log.
_IDENTITY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)


def list_stand_ins(inference: Inference) -> list[Dataset]:
    """Make a stand-in for each source instance, in slice order.

    All have the orientation of the first, of which the others may differ in the last decimal, and a Slice Thickness, which is
    of Type 2 in a CT image: where it is empty, that is the distance between slices.
    """
    headers = inference.volume.headers
    return [_stand_in(header, headers[0], inference.output.grid.spacing_mm[0]) for header in headers]


def _stand_in(header: Dataset, first: Dataset, spacing_mm: float) -> Dataset:
    stand_in = Dataset()
    for keyword in _IDENTITY:
        setattr(stand_in, keyword, "")
    for keyword in _PLACE:
        if keyword in header:
            stand_in.add(deepcopy(header[keyword]))
    if not stand_in.get("SliceThickness"):
        stand_in.SliceThickness = spacing_mm
    stand_in.ImageOrientationPatient = deepcopy(first.ImageOrientationPatient)
    return stand_in
