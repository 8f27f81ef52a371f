"""Sending: Verification and Storage SCU (PS3.4 Annexes A and B).

Objects are sent from their files, byte for byte: nothing is decoded, so nothing can change on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext

from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_file_meta_info
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from pynetdicom import _config, build_context
from pynetdicom.association import Association
from pynetdicom.dsutils import split_dataset

from node.core.errors import PeerUnavailable
from node.core.remote import RemoteAE
from node.core.result import Answer
from node.dimse.associate import Caller, associate
from node.dimse.contexts import VERIFICATION
from node.dimse.status import judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One file to send, as its File Meta Information describes it.

    Attributes
    ----------
    locate : callable or None
        Says where it is by then, for a file that is fetched when its turn comes.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    locate: Callable[[], Path] | None = None


def read_outgoing(path: Path) -> Outgoing | None:
    """Read what is needed to send ``path``; None when it is not a DICOM file with its File Meta Information (PS3.10 section 7.1)."""
    try:
        meta = read_file_meta_info(path)
    except (InvalidDicomError, EOFError):
        return None
    sop_class, instance, syntax = (
        str(meta.get(name, "")) for name in ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
    )
    if not (sop_class and instance and syntax):
        return None
    return Outgoing(path=path, sop_class_uid=sop_class, sop_instance_uid=instance, transfer_syntax_uid=syntax)


def restate(path: Path, folder: Path) -> Path:
    """Return ``path``, or a copy whose File Meta Information agrees with its data set.

    A C-STORE command states the identity of the data set (PS3.7 section 9.1.1.1), and some files on disk carry another one
    in front of it. The data set itself is copied byte for byte.
    """
    found, offset = split_dataset(path)
    meta = FileMetaDataset(found)
    inside = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
    said = (str(inside.get("SOPClassUID", "")), str(inside.get("SOPInstanceUID", "")))
    if not all(said) or said == (meta.get("MediaStorageSOPClassUID"), meta.get("MediaStorageSOPInstanceUID")):
        return path
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(said[0]), UID(said[1])
    copy = folder / f"{path.stem}-restated.dcm"
    header = DicomBytesIO()
    write_file_meta_info(header, meta, enforce_standard=False)
    copy.write_bytes(b"\0" * 128 + b"DICM" + header.getvalue() + path.read_bytes()[offset:])
    return copy


def verify(caller: Caller, peer: RemoteAE, tls: SSLContext | None = None) -> None:
    """Send a C-ECHO.

    Raises
    ------
    PeerUnavailable, PeerRefused
        If the peer does not answer it with Success.
    """
    association = associate(caller, peer, [build_context(VERIFICATION, "1.2.840.10008.1.2")], tls)
    try:
        status = association.send_c_echo()
        if "Status" not in status or status.Status != 0:
            raise PeerUnavailable(f"{peer.name} did not answer the C-ECHO with Success.", reason="echo")
    finally:
        association.release()


def store(
    caller: Caller,
    peer: RemoteAE,
    files: Sequence[Outgoing],
    *,
    tls: SSLContext | None = None,
    stop_at_failure: bool = True,
    told: Callable[[Answer], None] = lambda _answer: None,
) -> dict[str, Answer]:
    """Send ``files`` in one association and return what the peer said to each (SOP Instance UID -> answer).

    A file that is not in the result was not reached: the association ended before it.

    Parameters
    ----------
    tls : SSLContext, optional
        Secures the connection; the peer's name is its host.
    stop_at_failure : bool
        Send nothing behind a file that was not stored: what comes later in a parcel refers to what comes before.
    told : callable, optional
        Called after each answer, for progress.

    Raises
    ------
    PeerUnavailable
        If no association could be had, and trying again may help.
    PeerRefused
        If the peer rejected the association for good.
    """
    if not files:
        return {}
    _config.STORE_SEND_CHUNKED_DATASET = True  # from the file, undecoded; pynetdicom keeps this for the whole process
    syntaxes = sorted({(file.sop_class_uid, file.transfer_syntax_uid) for file in files})
    association = associate(caller, peer, [build_context(*syntax) for syntax in syntaxes], tls)
    answers: dict[str, Answer] = {}
    try:
        for file in files:
            if not association.is_established:
                break
            answer = answers[file.sop_instance_uid] = _store_one(association, file)
            told(answer)
            if stop_at_failure and answer.event != "accept":
                break
    finally:
        if association.is_established:
            association.release()
    return answers


def _store_one(association: Association, file: Outgoing) -> Answer:
    try:
        response = association.send_c_store(file.path)
    except ValueError:
        # No accepted presentation context for it: the association negotiation already said so.
        refused = f"The destination does not accept SOP class {file.sop_class_uid} in transfer syntax {file.transfer_syntax_uid}."
        return Answer(event="refuse", dimse_status=0x0122, sentence=refused)
    except RuntimeError:
        return judge(None)  # the association ended between the check and the sending
    return judge(int(response.Status) if "Status" in response else None)
