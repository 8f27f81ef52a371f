"""What well-formed traffic is made of, so that a case can take it and break one thing."""

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tests.integration.dimse.wire import COMMAND, CT, ECHO, EXPLICIT, IMPLICIT, LAST, STORE, VERIFICATION, pdu, pdv

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
#: The contexts of every association: (number, abstract syntax, transfer syntax).
CONTEXTS = [(STORE, CT, EXPLICIT), (ECHO, VERIFICATION, IMPLICIT)]


def item(kind: int, body: bytes, length: int | None = None) -> bytes:
    """An item of an association request (PS3.8 section 9.3.2)."""
    return struct.pack(">BBH", kind, 0, (len(body) if length is None else length) & 0xFFFF) + body


def context_item(number: int, abstract: bytes, *syntaxes: bytes) -> bytes:
    """A proposed presentation context."""
    return item(0x20, bytes((number & 0xFF, 0, 0, 0)) + item(0x30, abstract) + b"".join(item(0x40, syntax) for syntax in syntaxes))


def user_items() -> list[bytes]:
    """Every kind of user information that PS3.7 Annex D.3.3 has."""
    uid = CT.encode()
    named = struct.pack(">H", len(uid)) + uid
    service = b"1.2.840.10008.4.2"
    return [
        item(0x51, struct.pack(">I", 16384)),
        item(0x52, b"1.2.3.4"),
        item(0x53, struct.pack(">HH", 5, 5)),
        item(0x54, named + b"\1\0"),
        item(0x55, b"FUZZ"),
        item(0x56, named + b"\2\0\0\0\0\0"),
        item(0x57, named + struct.pack(">H", len(service)) + service + struct.pack(">H", 0)),
        item(0x58, b"\2\1" + struct.pack(">H", 4) + b"user" + struct.pack(">H", 4) + b"pass"),
    ]


def request(items: Sequence[bytes], *, calling: bytes = b"FUZZ", called: bytes = b"RADNODE", length: int | None = None) -> bytes:
    """An A-ASSOCIATE-RQ."""
    body = struct.pack(">HH", 1, 0) + called.ljust(16)[:16] + calling.ljust(16)[:16] + bytes(32) + b"".join(items)
    return struct.pack(">BBI", 1, 0, len(body) if length is None else length) + body


def plain_request(contexts: Sequence[tuple[int, str, str]] = CONTEXTS) -> bytes:
    """The A-ASSOCIATE-RQ that every sender makes."""
    return request(
        [
            item(0x10, APPLICATION_CONTEXT.encode()),
            *(context_item(number, abstract.encode(), syntax.encode()) for number, abstract, syntax in contexts),
            item(0x50, b"".join(user_items()[:2])),
        ]
    )


def element(number: int, value: bytes, group: int = 0) -> bytes:
    """An element of a command set: Implicit VR Little Endian."""
    return struct.pack("<HHI", group, number, len(value)) + value


def command_set(elements: Sequence[tuple[int, bytes]]) -> bytes:
    """A command set with its group length."""
    body = b"".join(element(number, value) for number, value in elements)
    return element(0, struct.pack("<I", len(body))) + body


def even(value: bytes) -> bytes:
    """Padded as a UID is."""
    return value + b"\0" * (len(value) % 2)


def store_elements(uid: str, sop_class: str = CT, message_id: int = 1) -> list[tuple[int, bytes]]:
    """What a C-STORE-RQ holds."""
    return [
        (0x0002, even(sop_class.encode())),
        (0x0100, b"\1\0"),
        (0x0110, struct.pack("<H", message_id)),
        (0x0700, b"\0\0"),
        (0x0800, b"\1\0"),
        (0x1000, even(uid.encode())),
    ]


def echo(message_id: int) -> bytes:
    """A C-ECHO-RQ as one PDU."""
    elements = [(2, even(VERIFICATION.encode())), (0x100, b"\x30\0"), (0x110, struct.pack("<H", message_id)), (0x800, b"\1\1")]
    return pdu(pdv(COMMAND | LAST, command_set(elements), ECHO))


def data_pdus(content: bytes, context: int, size: int) -> bytes:
    """A data set in PDUs of this size."""
    pieces = [content[place : place + size] for place in range(0, len(content), size)] or [b""]
    return b"".join(pdu(pdv(LAST if number == len(pieces) else 0, piece, context)) for number, piece in enumerate(pieces, 1))


@dataclass(frozen=True)
class Original:
    """A data set as it came out of a file, which stands for its own identity."""

    name: str
    content: bytes
    sop_class: str
    instance: str
    syntax: str

    def renamed(self, number: int) -> tuple[str, bytes]:
        """The same under a SOP Instance UID that nobody else has, of the same length."""
        digits = str(number)
        uid = f"1.2.{digits[0]}{digits[1:].rjust(len(self.instance) - 5, '0')}" if len(self.instance) >= len(digits) + 4 else self.instance
        return uid, self.content.replace(self.instance.encode(), uid.encode())


def flip(chance: random.Random, content: bytes, most: int = 20) -> bytes:
    """Change some bytes."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, most) if changed else 0):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def reassembled(sends: bytes) -> list[tuple[str, bytes]]:
    """Read what was sent as a strict receiver would: every whole C-STORE in it, as (SOP Instance UID, data set), until the first fault."""
    found: list[tuple[str, bytes]] = []
    command, content, uid, place = b"", b"", None, 0
    while place + 6 <= len(sends) and sends[place] == 4:
        end = place + 6 + int.from_bytes(sends[place + 2 : place + 6], "big")
        place += 6
        while place < min(end, len(sends)):
            length = int.from_bytes(sends[place : place + 4], "big")
            if length < 2 or place + 4 + length > min(end, len(sends)):
                return found
            control, fragment = sends[place + 5], sends[place + 6 : place + 4 + length]
            place += 4 + length
            if control & COMMAND:
                command += fragment
                if control & LAST:
                    uid, command, content = instance_of(command), b"", b""
            else:
                content += fragment
                if control & LAST and uid is not None:
                    found.append((uid, content))
                    uid = None
    return found


def instance_of(command: bytes) -> str | None:
    """Affected SOP Instance UID (0000,1000) of a command set."""
    place, uid = 0, None
    while place + 8 <= len(command):
        group, number, length = struct.unpack_from("<HHI", command, place)
        if (group, number) == (0, 0x1000):
            uid = command[place + 8 : place + 8 + length].decode("latin-1").rstrip("\0 ")
        place += 8 + length
    return uid
