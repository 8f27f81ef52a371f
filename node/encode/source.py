"""The source instances as highdicom is shown them: their place and their identifiers, and no patient."""

from __future__ import annotations

from copy import copy

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage

from node.core.uids import derive_uid
from node.encode.place import Place, list_places
from pipelines.result import Inference

#: What an encoder needs of a source image to reference it and to lie on its grid.
_PLACE = tuple(
    Tag(keyword)
    for keyword in (
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
)

#: What highdicom reads unconditionally. It is left empty here and copied as it stands later: highdicom would refuse a
#: birth date or a sex that is not quite DICOM, and would write a strange name into the log.
_IDENTITY = tuple(
    DataElement(keyword, dictionary_VR(keyword), "")
    for keyword in (
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
)


def list_evidence(inference: Inference) -> list[Dataset]:
    """Make a stand-in for each source instance of every input, those of the first input first and in slice order."""
    instances: dict[str, Dataset] = {}
    for volume in (inference.volume, *inference.others):
        for header in volume.headers:
            instances.setdefault(str(header.SOPInstanceUID), header)
    return [_stand_in(header) for header in instances.values()]


def list_stand_ins(inference: Inference) -> list[Dataset]:
    """Make a stand-in for each slice of the first input, in slice order, as classic images have them.

    All have the orientation of the first, of which the others may differ in the last decimal, and a Slice Thickness, which is
    of Type 2 in a CT image: where it is empty, that is the distance between slices. A frame of a multi-frame instance poses as an
    image of its own, for highdicom takes such an instance only whole; `name_sources` undoes that.
    """
    headers, grid = inference.volume.headers, inference.output.grid
    stand_ins = []
    for header, place in zip(headers, list_places(grid), strict=True):
        stand_in = _stand_in(header)
        if not stand_in.get("SliceThickness"):
            stand_in.SliceThickness = grid.spacing_mm[0]
        stand_in.ImageOrientationPatient = headers[0].ImageOrientationPatient
        if place[1]:
            stand_in.SOPClassUID, stand_in.SOPInstanceUID = CTImageStorage, _alias(place)
        stand_ins.append(stand_in)
    return stand_ins


def name_sources(segmentation: Dataset, inference: Inference) -> None:
    """Let a Segmentation that was built on stand-ins name all inputs as what it was derived from, and in its frames their true sources.

    Its frames lie on the first input. The instances of all stand in Source Image Sequence (General Reference, PS3.3 C.12.4) and in
    Referenced Series Sequence (Common Instance Reference, C.12.2), the first input first: OHIF looks no further.
    """
    places = {_alias(place): place for place in list_places(inference.output.grid) if place[1]}
    for groups in segmentation.PerFrameFunctionalGroupsSequence if places else ():
        for reference in groups.DerivationImageSequence[0].SourceImageSequence:
            if reference.ReferencedSOPInstanceUID in places:  # frames of one slice share the item
                uid, frame = places[reference.ReferencedSOPInstanceUID]
                reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = inference.volume.headers[0].SOPClassUID, uid
                reference.ReferencedFrameNumber = frame
    evidence = list_evidence(inference)
    segmentation.SourceImageSequence = [_refer(instance) for instance in evidence]
    segmentation.ReferencedSeriesSequence = []
    for uid in dict.fromkeys(str(instance.SeriesInstanceUID) for instance in evidence):
        series = Dataset()
        series.SeriesInstanceUID = uid
        series.ReferencedInstanceSequence = [_refer(instance) for instance in evidence if instance.SeriesInstanceUID == uid]
        segmentation.ReferencedSeriesSequence.append(series)


def _refer(instance: Dataset) -> Dataset:
    """Write an item of the SOP Instance Reference Macro (PS3.3 Table 10-11)."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance.SOPClassUID, instance.SOPInstanceUID
    return item


def _alias(place: Place) -> str:
    return derive_uid("frame", place[0], str(place[1]))


def _stand_in(header: Dataset) -> Dataset:
    """Make a stand-in, whose elements are its own and whose values, which nobody changes, are the header's."""
    stand_in = Dataset()
    for empty in _IDENTITY:
        stand_in.add(copy(empty))
    for tag in _PLACE:
        if tag in header:
            stand_in.add(copy(header[tag]))
    return stand_in
