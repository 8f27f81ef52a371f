"""A sender that is free to break every rule: PDUs and fragments as bytes, cut wherever a test wants them."""

import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Self

from pydicom.uid import UID
from pynetdicom import build_context
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dsutils import decode, encode
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

from tests.peers import HOST
from tests.unit.intake.arrivals import INSTANCE

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
VERIFICATION, IMPLICIT = "1.2.840.10008.1.1", "1.2.840.10008.1.2"
#: The context IDs that are negotiated, in this order; 99 is none of them.
STORE, ECHO, NONE = 1, 3, 99
COMMAND, LAST = 1, 2
RELEASE = struct.pack(">BBII", 5, 0, 4, 0)
ABORT = struct.pack(">BBIBBBB", 7, 0, 4, 0, 0, 0, 0)


def pdv(control: int, content: bytes, context: int = STORE) -> bytes:
    """One fragment with its header."""
    return struct.pack(">IBB", len(content) + 2, context, control) + content


def pdu(*pdvs: bytes) -> bytes:
    """One P-DATA-TF."""
    return struct.pack(">BBI", 4, 0, sum(map(len, pdvs))) + b"".join(pdvs)


def store_command(instance: str = INSTANCE, message_id: int = 1, *, data_set: bool = True) -> bytes:
    """The command set of a C-STORE request."""
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = message_id, 2
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CT, instance
    primitive.DataSet = BytesIO(b"x" if data_set else b"")
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    message.command_set.CommandDataSetType = 0x0001 if data_set else 0x0101
    return bytes(encode(message.command_set, True, True))


def echo_command() -> bytes:
    """The command set of a C-ECHO request."""
    primitive = C_ECHO()
    primitive.MessageID, primitive.AffectedSOPClassUID = 77, VERIFICATION
    message = C_ECHO_RQ()
    message.primitive_to_message(primitive)
    return bytes(encode(message.command_set, True, True))


def cut(content: bytes, *sizes: int) -> list[bytes]:
    """Cut into pieces of these sizes, over and over."""
    pieces, place, number = [], 0, 0
    while place < len(content):
        size = sizes[number % len(sizes)]
        pieces.append(content[place : place + size])
        place, number = place + size, number + 1
    return pieces


def fragments(pieces: Sequence[bytes]) -> list[bytes]:
    """The fragments of a data set, the last one marked."""
    return [pdv(LAST if number == len(pieces) else 0, piece) for number, piece in enumerate(pieces, 1)]


def message(content: bytes, instance: str = INSTANCE, message_id: int = 1, size: int = 16384) -> bytes:
    """A whole C-STORE request as most senders pack it: every fragment in a PDU of its own."""
    command = pdu(pdv(COMMAND | LAST, store_command(instance, message_id)))
    return command + b"".join(pdu(fragment) for fragment in fragments(cut(content, size - 12)))


class Wire:
    """An association as a raw socket."""

    def __init__(self, port: int, max_pdu: int = 16384, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection((HOST, port))
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket)
        self.socket.settimeout(20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):
            self.socket.sendall(associate(max_pdu))
        kind, self.accepted = self.read()
        if kind != 2:
            self.socket.close()
            raise ConnectionError("the association was not accepted")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Send bytes, whatever they are."""
        self.socket.sendall(b"".join(parts))

    def read(self) -> tuple[int, bytes]:
        """Read one PDU; (0, b"") when the connection is closed instead."""
        try:
            header = self._exactly(6)
            if len(header) < 6:
                return 0, b""
            kind, _, length = struct.unpack(">BBI", header)
            return kind, self._exactly(length)
        except ConnectionError:
            return 0, b""

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count and (piece := self.socket.recv(count - len(got))):
            got += piece
        return got

    def answer(self) -> tuple[int, int]:
        """Read a response: to which message, and its status."""
        kind, body = self.read()
        assert kind == 4, f"a PDU of type {kind} instead of a response"
        command = decode(BytesIO(body[6:]), True, True)
        return command.MessageIDBeingRespondedTo, command.Status

    def store(self, content: bytes, instance: str = INSTANCE) -> int:
        """Store one instance; its status."""
        self.send(message(content, instance))
        return self.answer()[1]

    def release(self) -> None:
        """End in order."""
        self.send(RELEASE)
        assert self.read()[0] == 6

    def abort(self) -> None:
        """End by force, in the protocol."""
        self.send(ABORT)
        self.socket.close()

    def reset(self) -> None:
        """End by force, beneath the protocol: the other side's next read fails."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def was_ended(self) -> bool:
        """Wait for the other side to abort or close; False when it answers instead."""
        while (kind := self.read()[0]) not in (0, 7):
            if kind == 4:
                return False
        return True

    def dribble(self, content: bytes, pause_s: float) -> Iterator[int]:
        """Send one byte after the other, slowly, until the other side has had enough."""
        for number in range(len(content)):
            try:
                self.socket.sendall(content[number : number + 1])
            except ConnectionError:
                return
            yield number
            time.sleep(pause_s)


def associate(max_pdu: int = 16384) -> bytes:
    """An A-ASSOCIATE-RQ."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = UID("1.2.840.10008.3.1.1.1")
    primitive.calling_ae_title, primitive.called_ae_title = "WIRE", "RADNODE"
    contexts = [build_context(CT, EXPLICIT), build_context(VERIFICATION, IMPLICIT)]
    for context, number in zip(contexts, (STORE, ECHO), strict=True):
        context.context_id = number
    primitive.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = max_pdu, UID("1.2.3.4")
    primitive.user_information = [length, implementation]
    request = A_ASSOCIATE_RQ()
    request.from_primitive(primitive)
    return bytes(request.encode())
