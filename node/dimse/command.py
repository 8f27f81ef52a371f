"""DIMSE command sets as bytes: just enough to answer a C-STORE without building a data set for it.

A command set is always Implicit VR Little Endian, whatever was negotiated (PS3.7 section 6.3.1).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

_C_STORE_RQ = 0x0001
_C_STORE_RSP = 0x8001
_C_CANCEL_RQ = 0x0FFF
_RESPONSE = 0x8000
_NO_DATA_SET = 0x0101

#: Element numbers of group 0000 (PS3.7 Annex E.1).
_GROUP_LENGTH, _SOP_CLASS, _COMMAND, _MESSAGE_ID, _ANSWERED_ID = 0x0000, 0x0002, 0x0100, 0x0110, 0x0120
_DATA_SET_TYPE, _STATUS, _SOP_INSTANCE = 0x0800, 0x0900, 0x1000


@dataclass(frozen=True, slots=True)
class Command:
    """Any command set, split into its elements (PS3.7 section 6.3.1)."""

    elements: Mapping[int, bytes]

    @classmethod
    def parse(cls, encoded: bytes) -> Self | None:
        """Split a command set; None when it is none, or does not say whether a data set comes behind it."""
        elements = _elements(encoded)
        return cls(elements) if elements and elements.get(_DATA_SET_TYPE) else None

    @property
    def stated_length(self) -> int:
        """Command Group Length (0000,0000); 0 without one."""
        return int.from_bytes(self.elements.get(_GROUP_LENGTH, b""), "little")

    @property
    def is_store_request(self) -> bool:
        """Whether it is a C-STORE-RQ, well-formed or not."""
        return int.from_bytes(self.elements.get(_COMMAND, b""), "little") == _C_STORE_RQ

    @property
    def is_request(self) -> bool:
        """Whether it asks for something, other than to cancel what was asked before (PS3.7 Annex E.1)."""
        field = int.from_bytes(self.elements.get(_COMMAND, b""), "little")
        return not field & _RESPONSE and field != _C_CANCEL_RQ

    @property
    def has_data_set(self) -> bool:
        """Whether a data set comes behind it (PS3.7 Annex E.1)."""
        return self.elements[_DATA_SET_TYPE] != struct.pack("<H", _NO_DATA_SET)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRequest:
    """A C-STORE-RQ (PS3.7 section 9.3.1.1) with a data set behind it.

    Attributes
    ----------
    message_id : bytes
        Message ID (0000,0110) as it came, two bytes.
    sop_class_uid, sop_instance_uid : str
        Affected SOP Class and Instance UID, without their padding.
    """

    message_id: bytes
    sop_class_uid: str
    sop_instance_uid: str

    @classmethod
    def parse(cls, encoded: bytes) -> Self | None:
        """Read a command set; None when it is anything but a whole, well-formed C-STORE-RQ with a data set."""
        command = Command.parse(encoded)
        # Without the group length, which is always there, the last of several fragments could be taken for a whole command.
        return cls.of(command) if command is not None and command.stated_length == len(encoded) - 12 else None

    @classmethod
    def of(cls, command: Command) -> Self | None:
        """Read a command; None when it is anything but a well-formed C-STORE-RQ with a data set."""
        elements = command.elements
        message_id, sop_class, instance = (elements.get(number) for number in (_MESSAGE_ID, _SOP_CLASS, _SOP_INSTANCE))
        if not command.is_store_request or not command.has_data_set or message_id is None or len(message_id) != 2:
            return None
        if sop_class is None or instance is None:
            return None
        try:
            return cls(message_id=message_id, sop_class_uid=_uid(sop_class), sop_instance_uid=_uid(instance))
        except UnicodeDecodeError:
            return None


def _uid(value: bytes) -> str:
    return value.decode("ascii").rstrip("\0 ")


def _elements(command: bytes) -> Mapping[int, bytes] | None:
    """Split a command set into its elements; None when it is not one."""
    found: dict[int, bytes] = {}
    place = 0
    while place < len(command):
        if place + 8 > len(command):
            return None
        group, number, length = struct.unpack_from("<HHI", command, place)
        place += 8
        if group != 0 or place + length > len(command):
            return None
        found[number] = command[place : place + length]
        place += length
    return found


def store_response(request: StoreRequest, context_id: int, status: int) -> bytes:
    """Make the P-DATA-TF PDU (PS3.8 section 9.3.5) with the C-STORE-RSP (PS3.7 section 9.3.1.2) to ``request``.

    It is one piece, to be sent by one call: a response in two segments waits for the peer's delayed acknowledgement.
    """
    body = b"".join(
        (
            _element(_SOP_CLASS, _padded(request.sop_class_uid)),
            _element(_COMMAND, struct.pack("<H", _C_STORE_RSP)),
            _element(_ANSWERED_ID, request.message_id),
            _element(_DATA_SET_TYPE, struct.pack("<H", _NO_DATA_SET)),
            _element(_STATUS, struct.pack("<H", status)),
            _element(_SOP_INSTANCE, _padded(request.sop_instance_uid)),
        )
    )
    command = _element(_GROUP_LENGTH, struct.pack("<I", len(body))) + body
    # PDU type, reserved, PDU length; PDV length, context, and the message control header of a last command fragment (PS3.8 Annex E.2).
    return struct.pack(">BBIIBB", 0x04, 0, len(command) + 6, len(command) + 2, context_id, 0x03) + command


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def _padded(uid: str) -> bytes:
    value = uid.encode("ascii")
    return value + b"\0" if len(value) % 2 else value
