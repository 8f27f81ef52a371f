"""Reading an arrival's identity once, without decoding anything else."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ExplicitVRLittleEndian

from node import __version__
from node.core.errors import DoesNotMatch, NotUnderstood
from node.core.study import Arrival
from node.core.uids import derive_uid, is_valid_uid
from node.core.unreadable import UNREADABLE
from node.intake.walk import find_elements

_IMPLEMENTATION_CLASS_UID = derive_uid("implementation")
_IMPLEMENTATION_VERSION = f"RADNODE_{__version__}"[:16]
#: Who put the association's id into Private Information (0002,0102) of our files.
_PRIVATE_CREATOR_UID = derive_uid("private information")

#: A letter, the SHA-256 of the data set in hexadecimal, and a space that makes it even.
SEAL_LENGTH = 66

_TAGS = {
    0x00080016: "SOPClassUID",
    0x00080018: "SOPInstanceUID",
    0x00080060: "Modality",
    0x00100020: "PatientID",
    0x0020000D: "StudyInstanceUID",
    0x0020000E: "SeriesInstanceUID",
}
#: Needed by pydicom to decode the Patient ID, which is what the walk leaves to it.
_CHARACTER_SET = 0x00080005
_LAST = max(_TAGS)

#: Deflated Explicit VR Little Endian, and the two JPIP syntaxes whose data set is deflated in the same way (PS3.5 Annex A.5, A.7, A.9).
_DEFLATED = ("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
#: The identity lies at the beginning. So much of a data set is walked, or unpacked, to find it, and so much is given to pydicom, which
#: takes seconds and a hundred times the memory for a megabyte of the smallest items that there are.
_MOST_WALKED, _MOST_PARSED = 1 << 23, 1 << 20


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
    ledger knows, the file alone tells everything. It ends with room for a seal.
    """
    who = f"{arrival.association_id} {arrival.peer.address}".encode()
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
            _element(0x0102, b"OB", who + b" " * (len(who) % 2) + bytes(SEAL_LENGTH)),
        )
    )
    return b"\0" * 128 + b"DICM" + _element(0x0000, b"UL", struct.pack("<I", len(body))) + body


def seal_of(sha256: str, *, is_evidence: bool) -> bytes:
    """What is written over the end of the File Meta Information when the file is whole.

    Parameters
    ----------
    is_evidence : bool
        It was refused, and is kept because it contradicts what is held.
    """
    return f"{'e' if is_evidence else 'a'}{sha256} ".encode()


def read_private(value: bytes) -> tuple[str, str, str, bool]:
    """Read back what ``file_meta`` and ``seal_of`` put into Private Information (0002,0102).

    Returns
    -------
    tuple
        The association's id, the peer's address, the digest of the data set, and whether it is evidence.
    """
    who, seal = value[:-SEAL_LENGTH].decode(), value[-SEAL_LENGTH:].decode()
    association_id, _, address = who.strip().partition(" ")
    return association_id, address, seal[1:].strip(), seal[0] == "e"


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    """Encode one element of group 0002, Explicit VR Little Endian (PS3.5 section 7.1.2)."""
    if len(value) % 2:
        value += b"\0" if vr in (b"UI", b"OB") else b" "
    if vr == b"OB":
        return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def read_header(arrival: Arrival, head: bytes | bytearray, read: Callable[[int], bytes]) -> Header:
    """Read the identity of an arrival and check it.

    Parameters
    ----------
    head : bytes
        The beginning of the data set.
    read : callable
        Gives so many of its first bytes; called only when ``head`` is not enough, or not plain.

    Raises
    ------
    NotUnderstood
        If the data set cannot be read, or a UID is missing or malformed: without them no result could be filed.
    DoesNotMatch
        If the data set is another instance, or of another class, than the request says (PS3.4 section B.2.3), or of another study.
    """
    if (header := _walk(arrival, head)) is not None:
        return _checked(arrival, header)
    content, syntax = read(_MOST_WALKED), arrival.transfer_syntax_uid
    if syntax in _DEFLATED:
        content, syntax = _inflate(content), str(ExplicitVRLittleEndian)
    if (header := _walk(replace(arrival, transfer_syntax_uid=syntax), content)) is not None:
        return _checked(arrival, header)
    return read_by_pydicom(arrival, syntax, content)


def read_by_pydicom(arrival: Arrival, syntax: str, content: bytes) -> Header:
    """Read what is not plain, of the beginning of a data set in ``syntax``; beyond what is wanted only when something is missing.

    Raises
    ------
    NotUnderstood, DoesNotMatch
        As `read_header` does.
    """
    file = file_meta(replace(arrival, transfer_syntax_uid=syntax)) + content[:_MOST_PARSED]
    wanted: list[BaseTag | int] = [Tag(tag) for tag in (*_TAGS, _CHARACTER_SET)]
    try:
        data_set: Dataset = read_partial(BytesIO(file), stop_when=lambda tag, _vr, _length: tag > _LAST, specific_tags=list(wanted))
        if any(keyword not in data_set for keyword in _TAGS.values()):
            data_set = dcmread(BytesIO(file), stop_before_pixels=True, specific_tags=list(wanted))
    except UNREADABLE as error:
        raise _unreadable(error) from error
    return _checked(arrival, _header_of({keyword: _text(data_set, keyword) for keyword in _TAGS.values()}))


def _checked(arrival: Arrival, header: Header) -> Header:
    _check_uids(header)
    if header.sop_instance_uid != arrival.sop_instance_uid or header.sop_class_uid != arrival.sop_class_uid:
        raise DoesNotMatch("The data set has another SOP Class or Instance UID than its request.", reason="command")
    if arrival.study_instance_uid and header.study_instance_uid != arrival.study_instance_uid:
        raise DoesNotMatch("The data set is of another study than the request was made for (PS3.18 section 10.5.1).", reason="study")
    if len(header.patient_id) > 64 or len(header.modality) > 16:
        raise NotUnderstood("Patient ID or Modality is longer than its VR allows (PS3.5 Table 6.2-1).", reason="too_long")
    if "\0" in header.patient_id or "\0" in header.modality:
        raise NotUnderstood("Patient ID or Modality holds a NUL, which no VR allows (PS3.5 section 6.1.2).", reason="malformed")
    return header


def _walk(arrival: Arrival, head: bytes | bytearray) -> Header | None:
    """Read a plain header in place; None when pydicom must."""
    found = find_elements(head, arrival.transfer_syntax_uid, _TAGS.keys())
    if found is None or len(found) < len(_TAGS):
        return None  # what is missing may stand where it does not belong
    together = b"".join(found.values())
    if not together.isascii() or b"\x1b" in together or b"\\" in together:
        return None
    return _header_of({keyword: found[tag].decode("ascii").rstrip("\0 ").strip().strip("\0") for tag, keyword in _TAGS.items()})


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
    try:
        inflated = inflater.decompress(content, _MOST_WALKED)
    except zlib.error as error:
        raise _unreadable(error) from error
    if not inflater.eof and len(inflated) < _MOST_WALKED and len(content) < _MOST_WALKED:
        raise _unreadable(EOFError())
    return inflated


def _unreadable(error: Exception) -> NotUnderstood:
    return NotUnderstood(f"The data set cannot be read ({type(error).__name__}); it may be cut short or damaged.", reason="unreadable")


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
