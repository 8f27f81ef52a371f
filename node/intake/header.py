"""Reading an arrival's identity once, without decoding anything else."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian

from node import __version__
from node.core.errors import DoesNotMatch, NotUnderstood
from node.core.study import Arrival
from node.core.uids import derive_uid, is_valid_uid
from node.intake.walk import find_elements

_IMPLEMENTATION_CLASS_UID = derive_uid("implementation")
_IMPLEMENTATION_VERSION = f"RADNODE_{__version__}"[:16]
#: Who put the association's id into Private Information (0002,0102) of our files.
_PRIVATE_CREATOR_UID = derive_uid("private information")

_TAGS = {
    0x00080016: "SOPClassUID",
    0x00080018: "SOPInstanceUID",
    0x00080060: "Modality",
    0x00100020: "PatientID",
    0x0020000D: "StudyInstanceUID",
    0x0020000E: "SeriesInstanceUID",
}
#: Needed by pydicom to decode the Patient ID, which is what the walk leaves to it.
_KEYWORDS = [*_TAGS.values(), "SpecificCharacterSet"]

#: Deflated Explicit VR Little Endian, and the two JPIP syntaxes whose data set is deflated in the same way (PS3.5 Annex A.5, A.7, A.9).
_DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
#: The identity lies before the pixels; a deflated data set is not unpacked further than this, whatever it claims to hold.
_MOST_INFLATED = 1 << 26

#: What pydicom and zlib raise at data that are cut short, damaged or made to harm; RuntimeError holds RecursionError, for endless nesting.
UNREADABLE = (
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
    """Make the preamble, prefix and File Meta Information (PS3.10 section 7.1) that go before the data set in our file.

    Besides what must be there it says who sent the data set, to whom, and in which association: should the process die before the
    ledger knows, the file alone tells everything.
    """
    body = b"".join(
        (
            _element(0x0001, b"OB", b"\0\1"),
            _element(0x0002, b"UI", arrival.sop_class_uid.encode()),
            _element(0x0003, b"UI", arrival.sop_instance_uid.encode()),
            _element(0x0010, b"UI", arrival.transfer_syntax_uid.encode()),
            _element(0x0012, b"UI", _IMPLEMENTATION_CLASS_UID.encode()),
            _element(0x0013, b"SH", _IMPLEMENTATION_VERSION.encode()),
            _element(0x0016, b"AE", arrival.peer.calling_ae.encode("ascii", "replace")),
            _element(0x0018, b"AE", arrival.peer.called_ae.encode("ascii", "replace")),
            _element(0x0100, b"UI", _PRIVATE_CREATOR_UID.encode()),
            _element(0x0102, b"OB", f"{arrival.association_id} {arrival.peer.address}".encode()),
        )
    )
    return b"\0" * 128 + b"DICM" + _element(0x0000, b"UL", struct.pack("<I", len(body))) + body


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    """Encode one element of group 0002, Explicit VR Little Endian (PS3.5 section 7.1.2)."""
    if len(value) % 2:
        value += b"\0" if vr in (b"UI", b"OB") else b" "
    if vr == b"OB":
        return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def read_header(arrival: Arrival, head: bytes | bytearray, whole: Callable[[], bytes]) -> Header:
    """Read the identity of an arrival and check it.

    Parameters
    ----------
    head : bytes
        The beginning of the data set.
    whole : callable
        Gives all of it; called only when the beginning is not enough, or not plain.

    Raises
    ------
    NotUnderstood
        If the data set cannot be read, or a UID is missing or malformed: without them no result could be filed.
    DoesNotMatch
        If the data set is another instance, or of another class, than the C-STORE command says (PS3.4 section B.2.3).
    """
    header = _walk(arrival, head) or _parse(arrival, whole())
    _check_uids(header)
    if header.sop_instance_uid != arrival.sop_instance_uid or header.sop_class_uid != arrival.sop_class_uid:
        raise DoesNotMatch("The data set has another SOP Class or Instance UID than the C-STORE command.", reason="command")
    if len(header.patient_id) > 64 or len(header.modality) > 16:
        raise NotUnderstood("Patient ID or Modality is longer than its VR allows (PS3.5 Table 6.2-1).", reason="too_long")
    if "\0" in header.patient_id or "\0" in header.modality:
        raise NotUnderstood("Patient ID or Modality holds a NUL, which no VR allows (PS3.5 section 6.1.2).", reason="malformed")
    return header


def _walk(arrival: Arrival, head: bytes | bytearray) -> Header | None:
    """Read a plain header in place; None when pydicom must."""
    found = find_elements(head, arrival.transfer_syntax_uid, _TAGS.keys())
    if found is None or any(not value.isascii() or b"\x1b" in value or b"\\" in value for value in found.values()):
        return None
    if len(found) < len(_TAGS):
        return None  # what is missing may stand where it does not belong
    return _header_of({keyword: found.get(tag, b"").decode("ascii").rstrip("\0 ").strip().strip("\0") for tag, keyword in _TAGS.items()})


def _parse(arrival: Arrival, content: bytes) -> Header:
    try:
        if arrival.transfer_syntax_uid in _DEFLATED:
            arrival, content = replace(arrival, transfer_syntax_uid=str(ExplicitVRLittleEndian)), _inflate(content)
        data_set = dcmread(BytesIO(file_meta(arrival) + content), stop_before_pixels=True, specific_tags=list(_KEYWORDS))
    except UNREADABLE as error:
        raise NotUnderstood(
            f"The data set cannot be read ({type(error).__name__}); it may be cut short or damaged.", reason="unreadable"
        ) from error
    return _header_of({keyword: _text(data_set, keyword) for keyword in _TAGS.values()})


def _header_of(values: Mapping[str, str]) -> Header:
    return Header(
        sop_class_uid=values["SOPClassUID"],
        sop_instance_uid=values["SOPInstanceUID"],
        series_instance_uid=values["SeriesInstanceUID"],
        study_instance_uid=values["StudyInstanceUID"],
        patient_id=values["PatientID"],
        modality=values["Modality"],
    )


def _inflate(content: bytes) -> bytes:
    """Unpack the beginning of a deflated data set; pydicom would unpack all of it, and a megabyte can hold a gigabyte."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(content, _MOST_INFLATED)
    if not inflater.eof and len(inflated) < _MOST_INFLATED:
        raise EOFError("the deflated data set is cut short")
    return inflated


def _text(data_set: Dataset, keyword: str) -> str:
    try:
        value = data_set.get(keyword)
        text = "" if value is None else str(value)
    except UNREADABLE as error:
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
