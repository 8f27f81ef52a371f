"""Reading an arrival's identity once, without decoding anything else."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian

from node import __version__
from node.core.errors import DoesNotMatch, NotUnderstood
from node.core.study import Arrival
from node.core.uids import derive_uid, is_valid_uid

_IMPLEMENTATION_CLASS_UID = derive_uid("implementation")
_TAGS = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "Modality", "SpecificCharacterSet"]

#: Deflated Explicit VR Little Endian, and the two JPIP syntaxes whose data set is deflated in the same way (PS3.5 Annex A.5, A.7, A.9).
_DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
#: The identity lies before the pixels; a deflated data set is not unpacked further than this, whatever it claims to hold.
_MOST_INFLATED = 1 << 26

#: What pydicom and zlib raise at data that are cut short, damaged or made to harm; RuntimeError holds RecursionError, for endless nesting.
_UNREADABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an arrival says about itself."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    patient_id: str
    modality: str


def file_meta(arrival: Arrival) -> bytes:
    """Make the preamble, prefix and File Meta Information (PS3.10 section 7.1) that go before the data set in our file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(arrival.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(arrival.sop_instance_uid)
    meta.TransferSyntaxUID = UID(arrival.transfer_syntax_uid)
    meta.ImplementationClassUID = UID(_IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = f"RADNODE_{__version__}"[:16]
    buffer = DicomBytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return buffer.getvalue()


def read_header(arrival: Arrival, meta: bytes) -> Header:
    """Read the identity of ``arrival`` and check it.

    Raises
    ------
    NotUnderstood
        If the data set cannot be read, or a UID is missing or malformed: without them no result could be filed.
    DoesNotMatch
        If the data set is another instance, or of another class, than the C-STORE command says (PS3.4 section B.2.3).
    """
    data_set = _parse(arrival, meta)
    header = Header(
        sop_class_uid=_text(data_set, "SOPClassUID"),
        sop_instance_uid=_text(data_set, "SOPInstanceUID"),
        series_instance_uid=_text(data_set, "SeriesInstanceUID"),
        study_instance_uid=_text(data_set, "StudyInstanceUID"),
        patient_id=_text(data_set, "PatientID"),
        modality=_text(data_set, "Modality"),
    )
    _check_uids(header)
    if header.sop_instance_uid != arrival.sop_instance_uid or header.sop_class_uid != arrival.sop_class_uid:
        raise DoesNotMatch("The data set has another SOP Class or Instance UID than the C-STORE command.", reason="command")
    if len(header.patient_id) > 64 or len(header.modality) > 16:
        raise NotUnderstood("Patient ID or Modality is longer than its VR allows (PS3.5 Table 6.2-1).", reason="too_long")
    if "\0" in header.patient_id or "\0" in header.modality:
        raise NotUnderstood("Patient ID or Modality holds a NUL, which no VR allows (PS3.5 section 6.1.2).", reason="malformed")
    return header


def _parse(arrival: Arrival, meta: bytes) -> Dataset:
    try:
        if arrival.transfer_syntax_uid in _DEFLATED:
            arrival = _inflate(arrival)
            meta = file_meta(arrival)
        return dcmread(BytesIO(meta + arrival.data_set), stop_before_pixels=True, specific_tags=_TAGS)
    except _UNREADABLE as error:
        raise NotUnderstood(
            f"The data set cannot be read ({type(error).__name__}); it may be cut short or damaged.", reason="unreadable"
        ) from error


def _inflate(arrival: Arrival) -> Arrival:
    """Unpack the beginning of a deflated data set; pydicom would unpack all of it, and a megabyte can hold a gigabyte."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(arrival.data_set, _MOST_INFLATED)
    if not inflater.eof and len(inflated) < _MOST_INFLATED:
        raise EOFError("the deflated data set is cut short")
    return replace(arrival, transfer_syntax_uid=str(ExplicitVRLittleEndian), data_set=inflated)


def _text(data_set: Dataset, keyword: str) -> str:
    try:
        value = data_set.get(keyword)
        text = "" if value is None else str(value)
    except _UNREADABLE as error:
        raise NotUnderstood(f"{keyword} cannot be read ({type(error).__name__}).", reason="unreadable") from error
    return text.strip().strip("\0")


def _check_uids(header: Header) -> None:
    uids = {
        "SOP Class UID": header.sop_class_uid,
        "SOP Instance UID": header.sop_instance_uid,
        "Study Instance UID": header.study_instance_uid,
        "Series Instance UID": header.series_instance_uid,
    }
    missing = ", ".join(name for name, value in uids.items() if not value)
    if missing:
        raise NotUnderstood(f"The data set has no {missing}; correct it at the sender.", reason="missing_identity")
    malformed = ", ".join(name for name, value in uids.items() if not is_valid_uid(value))
    if malformed:
        raise NotUnderstood(f"{malformed}: not a UID by PS3.5 section 9.1; correct it at the sender.", reason="malformed_uid")
