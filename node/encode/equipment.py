"""Who made an object, when, and from whose images: what every object of ours states alike.

General Equipment (PS3.3 C.7.5.1), the Contributing Equipment that IHE AI Results asks for (AIR section 6.5.3.1), the marking
as unverified AI output, and patient and study as the source has them.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime
from io import BytesIO

from highdicom.base import SOPClass
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code as CodedValue
from pydicom.uid import UID, ExplicitVRLittleEndian

from node.core.result import ObjectKind
from node.core.uids import derive_uid
from node.encode.making import Making, device_uid

#: Value Representation LO holds 64 characters (PS3.5 Table 6.2-1).
LONG_STRING = 64

#: Says in the meta information of a file which implementation wrote it (PS3.10 section 7.1).
IMPLEMENTATION_CLASS_UID = derive_uid("RadNode", "implementation class")

PROCESSING = CodedValue("109102", "DCM", "Processing Equipment")
ACQUISITION = CodedValue("109101", "DCM", "Acquisition Equipment")

#: What describes the scanner in an item of Contributing Equipment Sequence (PS3.3 C.12, SOP Common).
_SCANNER = ("InstitutionName", "StationName", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions")


def sign(dataset: SOPClass, kind: ObjectKind, making: Making) -> None:
    """Complete an object that highdicom built: identity, equipment, dates and marking.

    Everything that highdicom took from the clock is replaced. Body Part Examined is copied into images only, because
    it is outside of the report's modules.
    """
    copy_identity(dataset, making.header)
    _set_equipment(dataset, making)
    _set_dates(dataset, making)
    dataset.SeriesDescription = describe_series(kind, making.title, making.model.version)
    if kind == "SEG" and making.header.get("BodyPartExamined"):
        dataset.BodyPartExamined = making.header.BodyPartExamined
    _identify_private_schemes(dataset)


def describe_series(kind: ObjectKind, title: str, version: str) -> str:
    """Write the Series Description (0008,103E), 64 characters at most: a long version is cut, the warning never."""
    head, tail = f"AI {title} ", f" {kind} - UNVERIFIED"
    return head + version[: LONG_STRING - len(head) - len(tail)] + tail


def copy_identity(dataset: SOPClass, header: Dataset) -> None:
    """Copy patient, study and clinical trial from the source as they stand, with the character set in which they are written.

    An attribute of Type 2 that the source lacks is left empty, as PS3.5 section 7.4.3 wants; nothing is filled in.
    """
    source = deepcopy(header)
    source.remove_private_tags()
    dataset.copy_patient_and_study_information(source)
    for keyword in ("SpecificCharacterSet", "TimezoneOffsetFromUTC"):
        if keyword in source:
            dataset.add(source[keyword])


def _set_equipment(dataset: Dataset, making: Making) -> None:
    equipment = making.equipment
    dataset.Manufacturer = equipment.manufacturer
    dataset.ManufacturerModelName = equipment.model_name
    dataset.SoftwareVersions = equipment.software_version
    dataset.DeviceSerialNumber = equipment.serial_number
    if equipment.institution_name:
        dataset.InstitutionName = equipment.institution_name
    dataset.ContributingEquipmentSequence = [*_describe_scanner(making.header), describe_model(making)]


def describe_model(making: Making) -> Dataset:
    """Describe the model as Contributing Equipment: the item that IHE AIR section 6.5.3.1 demands of every object.

    Its values are those that the report's content tree gives for the device observer and the algorithm.
    """
    item = _start_equipment(PROCESSING, making.model.manufacturer)
    item.ManufacturerModelName = making.model.name
    item.SoftwareVersions = making.model.version
    item.DeviceUID = device_uid(making.model)
    item.ContributionDateTime = making.made_at.strftime("%Y%m%d%H%M%S.%f%z")
    item.ContributionDescription = f"AI inference, model sha256 {making.model.digest}"
    return item


def _describe_scanner(header: Dataset) -> list[Dataset]:
    if not header.get("Manufacturer"):
        return []  # Manufacturer is Type 1 in the item: a source that does not name one is not described
    item = _start_equipment(ACQUISITION, str(header.Manufacturer))
    for keyword in _SCANNER:
        if header.get(keyword):
            item.add(deepcopy(header[keyword]))
    return [item]


def _start_equipment(purpose: CodedValue, manufacturer: str) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code_item(purpose)]
    item.Manufacturer = manufacturer
    return item


def code_item(code: CodedValue) -> Dataset:
    """Write a code as an item of a code sequence (PS3.3 section 8.8)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def list_private_schemes(dataset: Dataset) -> list[str]:
    """List the private coding schemes, whose designators begin with 99 (PS3.16 section 8), that a data set uses."""
    used = {str(element.value) for element in dataset.iterall() if element.keyword == "CodingSchemeDesignator"}
    return sorted(scheme for scheme in used if scheme.startswith("99"))


def _identify_private_schemes(dataset: Dataset) -> None:
    """Say whose the private codes are, without which no receiver could tell (Coding Scheme Identification, PS3.3 C.12.1.1.3)."""
    items = []
    for scheme in list_private_schemes(dataset):
        item = Dataset()
        item.CodingSchemeDesignator = scheme
        item.CodingSchemeUID = derive_uid("coding scheme", scheme)
        item.CodingSchemeName = f"Private codes {scheme}"
        item.CodingSchemeResponsibleOrganization = "RadNode"
        items.append(item)
    if items:
        dataset.CodingSchemeIdentificationSequence = items


def _set_dates(dataset: Dataset, making: Making) -> None:
    day, time = date_of(making.made_at), time_of(making.made_at)
    for prefix in ("InstanceCreation", "Series", "Content"):
        setattr(dataset, f"{prefix}Date", day)
        setattr(dataset, f"{prefix}Time", time)


def date_of(moment: datetime) -> str:
    """Write a date as Value Representation DA."""
    return moment.strftime("%Y%m%d")


def time_of(moment: datetime) -> str:
    """Write a time as Value Representation TM, with microseconds."""
    return moment.strftime("%H%M%S.%f")


def write_part10(dataset: Dataset, software_version: str) -> bytes:
    """Write a data set as the bytes of a Part 10 file in Explicit VR Little Endian (PS3.10 section 7)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"RADNODE_{software_version}"[:16]
    dataset.file_meta = meta
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
