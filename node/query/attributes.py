"""Which attributes may be asked for, and at which level (PS3.4 section C.6.1.1)."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.datadict import dictionary_VR, tag_for_keyword

from node.core.query import LEVELS, Level

#: The attribute that names one entity of a level.
UNIQUE: Mapping[Level, str] = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}

#: Known without opening a file: by the ledger, or counted in it.
KNOWN: Mapping[Level, tuple[str, ...]] = {
    "PATIENT": ("PatientID", "NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances"),
    "STUDY": (
        "StudyInstanceUID",
        "ModalitiesInStudy",
        "SOPClassesInStudy",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    "SERIES": ("SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances"),
    "IMAGE": ("SOPInstanceUID", "SOPClassUID"),
}

#: Read from the header of one instance.
READ: Mapping[Level, tuple[str, ...]] = {
    "PATIENT": (
        "PatientName",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientBirthTime",
        "PatientSex",
        "OtherPatientIDs",
        "EthnicGroup",
        "PatientComments",
    ),
    "STUDY": (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "StudyID",
        "StudyDescription",
        "ReferringPhysicianName",
        "NameOfPhysiciansReadingStudy",
        "AdmittingDiagnosesDescription",
        "PatientAge",
        "PatientSize",
        "PatientWeight",
        "Occupation",
        "AdditionalPatientHistory",
    ),
    "SERIES": (
        "SeriesNumber",
        "SeriesDescription",
        "SeriesDate",
        "SeriesTime",
        "BodyPartExamined",
        "Laterality",
        "ProtocolName",
        "PatientPosition",
        "FrameOfReferenceUID",
        "PerformingPhysicianName",
        "OperatorsName",
        "Manufacturer",
        "ManufacturerModelName",
        "StationName",
        "InstitutionName",
        "InstitutionalDepartmentName",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
    ),
    "IMAGE": (
        "InstanceNumber",
        "ImageType",
        "InstanceCreationDate",
        "InstanceCreationTime",
        "AcquisitionDate",
        "AcquisitionTime",
        "AcquisitionNumber",
        "ContentDate",
        "ContentTime",
        "Rows",
        "Columns",
        "BitsAllocated",
        "NumberOfFrames",
        "CompletionFlag",
        "VerificationFlag",
    ),
}
#: Read from the header at every level, where it says something.
TIMEZONE = "TimezoneOffsetFromUTC"

VR_OF: Mapping[str, str] = {
    keyword: dictionary_VR(tag_for_keyword(keyword) or 0) for table in (KNOWN, READ) for keywords in table.values() for keyword in keywords
} | {TIMEZONE: "SH"}
READ_TAGS: Mapping[int, str] = {
    tag_for_keyword(keyword) or 0: keyword for keyword in (*(one for keywords in READ.values() for one in keywords), TIMEZONE)
}


def supported(level: Level) -> frozenset[str]:
    """The keywords that are answered at ``level``: its own and those of every level above, of which an entity has exactly one."""
    above = LEVELS[: LEVELS.index(level) + 1]
    counts = {keyword for one in above[:-1] for keyword in KNOWN[one] if keyword not in (UNIQUE[one], "Modality")}
    return frozenset(keyword for one in above for keyword in (*KNOWN[one], *READ[one]) if keyword not in counts) | {TIMEZONE}
