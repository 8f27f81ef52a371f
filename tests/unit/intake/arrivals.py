"""Arrivals made of files and of data sets, as the listener would hand them on."""

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.errors import InvalidDicomError
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.dsutils import split_dataset

from node.core.study import Arrival, Peer
from node.core.uids import is_valid_uid
from node.intake.header import Header, read_header
from node.intake.receive import Receiver
from node.spool.incoming import HEAD

PEER = Peer(calling_ae="CT", called_ae="RADNODE", address="127.0.0.1")
INSTANCE, SERIES, STUDY = "1.2.826.0.1.3680043.9.1.3", "1.2.826.0.1.3680043.9.1.2", "1.2.826.0.1.3680043.9.1.1"


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What a command says, and the data set that comes behind it."""

    arrival: Arrival
    data_set: bytes

    def to(self, receiver: Receiver, fragment: int = 1 << 14) -> int:
        """Hand it over in fragments; the status that the sender hears."""
        reception = receiver.begin(self.arrival)
        for place in range(0, len(self.data_set), fragment):
            reception.write(memoryview(self.data_set)[place : place + fragment])
        return reception.finish()


def make_data_set(**attributes) -> Dataset:
    """The least that is taken; an attribute given as None is left out."""
    values = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": INSTANCE,
        "Modality": "CT",
        "PatientName": "Example^Name",
        "PatientID": "P1",
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": SERIES,
        "PixelData": bytes(8),
    } | attributes
    data_set = Dataset()
    for keyword, value in values.items():
        if value is not None:
            setattr(data_set, keyword, value)
    if "PixelData" in data_set:
        data_set["PixelData"].VR = "OW"
    return data_set


def encode(data_set: Dataset, *, implicit: bool = False, little: bool = True) -> bytes:
    buffer = BytesIO()
    dcmwrite(buffer, data_set, implicit_vr=implicit, little_endian=little, enforce_file_format=False)
    return buffer.getvalue()


def encode_odd(data_set: Dataset, tag: int, vr: bytes, value: bytes) -> bytes:
    """As explicit little endian, with one element whose bytes no library would write."""
    data_set.pop(tag, None)
    long = vr in (b"SQ", b"OB", b"OW", b"UN", b"UT")
    head = struct.pack("<HH2sHI" if long else "<HH2sH", tag >> 16, tag & 0xFFFF, vr, *([0] if long else []), len(value))
    return encode(data_set[:tag]) + head + value + encode(data_set[tag:])


def sent(
    content: bytes, *, syntax=ExplicitVRLittleEndian, sop_class=CTImageStorage, instance=INSTANCE, association="A1", peer=PEER
) -> Sent:
    arrival = Arrival(
        peer=peer,
        association_id=association,
        sop_class_uid=str(sop_class),
        sop_instance_uid=str(instance),
        transfer_syntax_uid=str(syntax),
    )
    return Sent(arrival=arrival, data_set=content)


def sent_from(path: Path) -> Sent | None:
    """What a sender would make of a file: its data set byte for byte; None for a file that cannot be offered."""
    try:
        meta, offset = split_dataset(path)
    except InvalidDicomError:
        return None
    if "TransferSyntaxUID" not in meta:
        return None
    inside = dcmread(path, stop_before_pixels=True, force=True, specific_tags=["SOPClassUID", "SOPInstanceUID"])
    named = {"sop_class": inside.get("SOPClassUID", ""), "instance": inside.get("SOPInstanceUID", "")}
    if not all(is_valid_uid(uid) for uid in named.values()):
        return None  # no C-STORE command could name it
    return sent(path.read_bytes()[offset:], syntax=meta.TransferSyntaxUID, **named)


def header_of(found: Sent) -> Header:
    return read_header(found.arrival, found.data_set[:HEAD], lambda most: found.data_set[:most])
