"""What we say to an association request beside its contexts (PS3.7 Annex D.3.3), and which requests cannot be read.

- SOP Class Extended Negotiation: for storage classes we answer as what we are (below); for others not at all.
- SOP Class Common Extended Negotiation has no answer (D.3.3.6.2), and nothing that we take depends on it.
- User Identity: accepted and not interpreted. A positive answer would say that we had verified it, so there is none, as D.3.3.7
  asks of an acceptor that does not support it.
- Asynchronous Operations Window: answered with one operation at a time, when it was proposed (D.3.3.3.2).
- SCP/SCU Role Selection is left to pynetdicom.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from pynetdicom import evt

from node.dimse.contexts import storage_sop_classes

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pynetdicom.pdu import A_ASSOCIATE_RQ

    from node.dimse.visit import Handler

#: PS3.4 Table B.3-2, bytes 1, 3 and 5: level 2, every attribute is kept; the signature level is unspecified; nothing is coerced.
_STORAGE = bytes((2, 0, 0, 0, 0, 0))

#: Where both AE titles stand in an A-ASSOCIATE-RQ, and where its items begin (PS3.8 Table 9-11).
_TITLES, _ITEMS = slice(10, 42), 74
_USER_INFORMATION = 0x50
_KNOWN_ITEMS = frozenset({0x10, 0x20, _USER_INFORMATION})
#: PS3.7 Annex D.3.3; maximum length is in PS3.8 Annex D.1.
_KNOWN_USER_ITEMS = frozenset({0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58})


def legible(request: bytearray) -> bytearray:
    """Take out of an A-ASSOCIATE-RQ what an acceptor must not mind, and pynetdicom 3.0.4 does.

    Items and sub-items that are not known are skipped (PS3.8 section 9.3.1), and AE titles that are padded by NULs are by spaces. What is
    not even made of items is left as it is.
    """
    titles = bytes(request[_TITLES]).replace(b"\0", b" ")
    items = _known(bytes(request[_ITEMS:]), _KNOWN_ITEMS)
    if items is None:
        return request
    parts = [_rebuilt_user_information(item) if item[0] == _USER_INFORMATION else item for item in items]
    body = bytes(request[6 : _TITLES.start]) + titles + bytes(request[_TITLES.stop : _ITEMS]) + b"".join(parts)
    return bytearray(bytes(request[:2]) + struct.pack(">I", len(body)) + body)


def _rebuilt_user_information(item: bytes) -> bytes:
    parts = _known(item[4:], _KNOWN_USER_ITEMS)
    return item if parts is None else item[:2] + struct.pack(">H", sum(map(len, parts))) + b"".join(parts)


def _known(encoded: bytes, kinds: Collection[int]) -> list[bytes] | None:
    """Split into items, and drop those of other kinds; None when it is not made of items."""
    found, place = [], 0
    while place < len(encoded):
        end = place + 4 + int.from_bytes(encoded[place + 2 : place + 4], "big")
        if place + 4 > len(encoded) or end > len(encoded):
            return None
        if encoded[place] in kinds:
            found.append(encoded[place:end])
        place = end
    return found


def check_request(pdu: A_ASSOCIATE_RQ) -> None:
    """Read everything in an A-ASSOCIATE-RQ once, so that what cannot be read fails here and not in the middle of the negotiation.

    Raises
    ------
    Exception
        Whatever pynetdicom raises; ValueError for a presentation context without its syntaxes (PS3.8 section 9.3.2.2).
    """
    request = pdu.to_primitive()
    numbers = [context.context_id for context in request.presentation_context_definition_list]
    if len(set(numbers)) < len(numbers):
        raise ValueError("a presentation context ID is used twice")
    if not all(context.abstract_syntax and context.transfer_syntax for context in request.presentation_context_definition_list):
        raise ValueError("a presentation context has no abstract or no transfer syntax")


def handlers() -> Sequence[Handler]:
    """The handlers of pynetdicom's events for it."""
    storage = frozenset(storage_sop_classes())

    def on_extended(event: Any) -> dict[str, bytes]:
        return {uid: _STORAGE for uid in event.app_info if uid in storage}

    def on_asynchronous(_event: Any) -> tuple[int, int]:
        return 1, 1

    return [(evt.EVT_SOP_EXTENDED, on_extended), (evt.EVT_ASYNC_OPS, on_asynchronous)]
