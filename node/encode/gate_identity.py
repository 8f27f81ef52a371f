"""What every object of ours must hold alike: the source's identity, identifiers of our own, and the marking as AI."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian, SegmentationStorage

from node.core.job import Job
from node.core.result import EncodedObject
from node.core.uids import is_valid_uid
from node.encode.equipment import list_private_schemes
from node.encode.making import device_uid, to_source_zone
from pipelines.result import Inference, Model

#: Attributes of patient and study that must equal the source's, those of Type 2 also when they are empty.
IDENTITY = (
    "StudyInstanceUID",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
)

#: Attributes that would name a person as author, operator or verifier of what no person has seen.
PEOPLE = ("ContentCreatorName", "OperatorsName", "PerformingPhysicianName", "VerifyingObserverSequence", "AuthorObserverSequence")

_SOP_CLASSES = {"SEG": SegmentationStorage, "SR": Comprehensive3DSRStorage}


def check_identity(dataset: Dataset, inference: Inference) -> Iterator[str]:
    """Compare patient and study with every source instance, as decoded text, so that no character set can hide a change."""
    for keyword in IDENTITY:
        ours = str(dataset.get(keyword) or "")
        if any(ours != str(header.get(keyword) or "") for header in inference.volume.headers):
            yield f"{keyword} is not the source's"  # without the values: they are the patient's
    others = [header for volume in inference.others for header in volume.headers]
    for keyword in ("StudyInstanceUID", "PatientID"):
        if not dataset.get(keyword):
            yield f"{keyword} is missing"
        if any(str(dataset.get(keyword) or "") != str(header.get(keyword) or "") for header in others):
            yield f"{keyword} is not that of every input"


def check_uids(dataset: Dataset, encoded: EncodedObject, inference: Inference, job: Job) -> Iterator[str]:
    """Compare the identifiers with those that the job derives, with the file's meta information and with the envelope."""
    meta = dataset.file_meta
    if meta.TransferSyntaxUID != ExplicitVRLittleEndian:
        yield "transfer syntax is not Explicit VR Little Endian"
    if not dataset.SOPClassUID == meta.MediaStorageSOPClassUID == encoded.sop_class_uid == _SOP_CLASSES[encoded.kind]:
        yield "SOP Class UID is not that of its kind"
    derived = job.derive_uid(encoded.kind, "instance")
    if not dataset.SOPInstanceUID == meta.MediaStorageSOPInstanceUID == encoded.sop_instance_uid == derived:
        yield "SOP Instance UID is not the derived one"
    if not dataset.SeriesInstanceUID == encoded.series_instance_uid == job.derive_uid(encoded.kind, "series"):
        yield "Series Instance UID is not the derived one"
    if dataset.StudyInstanceUID != job.study_instance_uid:
        yield "StudyInstanceUID is not the job's"
    if dataset.SOPInstanceUID in list_instances(inference):
        yield "SOP Instance UID is one of the source's"
    if dataset.SeriesInstanceUID in job.series_instance_uids:
        yield "Series Instance UID is one of the source's"
    if not all(is_valid_uid(str(uid)) for uid in (dataset.SOPInstanceUID, dataset.SeriesInstanceUID)):
        yield "a UID is not valid"


def list_instances(inference: Inference) -> set[str]:
    """List the source instances of all inputs."""
    return {str(header.SOPInstanceUID) for volume in (inference.volume, *inference.others) for header in volume.headers}


def check_marking(dataset: Dataset, inference: Inference, job: Job) -> Iterator[str]:
    """Look for the marking as unverified AI output, and for what must not be there: people and private attributes."""
    description = str(dataset.get("SeriesDescription") or "")
    if not (description.startswith("AI ") and description.endswith(" - UNVERIFIED")):
        yield "Series Description does not say AI and UNVERIFIED"
    for keyword in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber"):
        if not dataset.get(keyword):
            yield f"{keyword} is missing"
    yield from (f"{keyword} names a person" for keyword in PEOPLE if dataset.get(keyword))
    strange = [element.tag for element in dataset.iterall() if not element.keyword]
    if any(tag.is_private for tag in strange):
        yield "a private attribute"
    if any(not tag.is_private for tag in strange):
        yield "an attribute that DICOM does not know"
    identified = {str(item.CodingSchemeDesignator) for item in dataset.get("CodingSchemeIdentificationSequence", [])}
    if not set(list_private_schemes(dataset)) <= identified:
        yield "a private coding scheme is not identified"
    made_at = to_source_zone(job.queued_at, inference.volume.headers[0])
    for prefix in ("InstanceCreation", "Series", "Content"):
        if (dataset.get(f"{prefix}Date"), dataset.get(f"{prefix}Time")) != (made_at.strftime("%Y%m%d"), made_at.strftime("%H%M%S.%f")):
            yield f"{prefix}Date or {prefix}Time is not the job's"
    if not any(_describes(item, inference.model) for item in dataset.get("ContributingEquipmentSequence", [])):
        yield "no Contributing Equipment item describes the model (IHE AIR 6.5.3.1)"


def _describes(item: Dataset, model: Model) -> bool:
    """Tell whether an item of Contributing Equipment Sequence is the one that IHE AIR 6.5.3.1 demands for ``model``."""
    purposes = {(code.CodeValue, code.CodingSchemeDesignator) for code in item.get("PurposeOfReferenceCodeSequence", [])}
    stated = tuple(str(item.get(keyword) or "") for keyword in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceUID"))
    return ("109102", "DCM") in purposes and stated == (model.manufacturer, model.name, model.version, device_uid(model))
