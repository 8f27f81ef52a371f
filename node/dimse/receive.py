"""The reader beneath pynetdicom: every byte that a peer sends passes here, and no more of them than is allowed.

pynetdicom accepts, negotiates, releases and aborts; this module stands between its reactor and the socket, plain or TLS. Once an
association is established, a C-STORE request is served here, in the thread that reads the socket: fragments go from the socket
into the file as they come, without a data set in memory, and the answer leaves in one piece. Every other PDU is read as a whole,
within the bounds that its type allows, and handed to pynetdicom's state machine.
"""

from __future__ import annotations

import select
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from pynetdicom.pdu import A_ASSOCIATE_RQ

from node.dimse.command import StoreRequest, store_response
from node.dimse.negotiation import check_request, legible
from node.dimse.source import Garbled, Limits, Lost, Source

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping

    from pynetdicom.association import Association

    from node.dimse.messages import Messages
    from node.dimse.rate import Bucket
    from node.dimse.reception import Reception

log = structlog.get_logger(__name__)

_A_ASSOCIATE_RQ, _P_DATA, _A_ABORT = 0x01, 0x04, 0x07
_A_ABORT_SOURCE = 8
_PDU = struct.Struct(">BBI")  # a PDU's header: type, reserved, length (PS3.8 Table 9-22)
_PDV = struct.Struct(">IBB")  # a PDV's header: length, context, message control header (PS3.8 Table 9-23, Annex E.2)
_HEADERS = _PDU.size + _PDV.size
_COMMAND_FRAGMENT, _LAST_FRAGMENT = 0x01, 0x02

#: What comes before an association is established is a request for one; 128 presentation contexts with every transfer syntax that there
#: is stay below this (PS3.8 section 9.3.2).
_BEFORE = {_A_ASSOCIATE_RQ: 1 << 20}
#: All other PDUs have four bytes (PS3.8 sections 9.3.4 and 9.3.6 to 9.3.8).
_LONGEST_OTHER = 64
#: A command set with two UIDs of 64 characters is below 300 bytes; what does not fit here is no C-STORE of ours.
_MOST_COMMAND = 4096
_BUFFER = 1 << 20
#: How long to look for the next request before looking whether pynetdicom has something to send.
_LOOK_S = 0.1
#: Requests that were received and not begun; while there are more, nothing is read.
_MOST_WAITING = 4
#: When an association is over, what still comes is thrown away, for so long and so much.
_LISTENS_ON_S, _LISTENS_ON_TO = 1.0, 1 << 24


class _Interrupted(Exception):
    """The peer aborts in the middle of a message."""


class Reader:
    """Reads one connection.

    Parameters
    ----------
    connection : socket
        The association's, plain or TLS.

    Attributes
    ----------
    source : Source
        What is read from.
    is_dropped : bool
        The connection was ended by us before anything was asked.
    messages, bucket : Messages, Bucket or None
        What becomes of whole PDUs, and what holds the peer's pace down, once the association is established.
    """

    def __init__(self, association: Association, connection: socket.socket, limits: Limits) -> None:
        self._association, self._connection, self._limits = association, connection, limits
        self._dul = association.dul
        self.source = Source(connection, limits)
        self.messages: Messages | None = None
        self.bucket: Bucket | None = None
        self._begin: Callable[[StoreRequest, str], Reception] | None = None
        self._contexts: Mapping[int, str] = {}
        self._is_served = self.is_dropped = False
        self._buffer = memoryview(b"")
        self._longest = _BEFORE
        self._over_at, self._discarded = 0.0, 0
        self._poll = select.poll()

    def install(self) -> None:
        """Stand between the reactor and its socket, for this association only."""
        self._dul._read_pdu_data = self._read  # type: ignore[method-assign]  # noqa: SLF001 - the one seam between the two

    def serve(self, contexts: Mapping[int, str], begin: Callable[[StoreRequest, str], Reception] | None) -> None:
        """The association is established.

        Parameters
        ----------
        contexts : mapping
            Those for storage: context ID -> transfer syntax UID.
        begin : callable or None
            Called with (request, transfer syntax UID) for each C-STORE; gives its Reception. Without it they go to pynetdicom.
        """
        self.source.settle(self.bucket)
        self._contexts = contexts
        self._begin, self._buffer = begin, memoryview(bytearray(_BUFFER if begin else 0))
        self._longest = {_P_DATA: self._limits.longest_pdu}
        self._poll.register(self._connection, select.POLLIN)
        self._is_served = True

    def abandon(self) -> None:
        """Nothing more will come: take back what has begun."""
        if self.messages is not None:
            self.messages.abandon()

    def _read(self) -> None:
        """Called by the reactor when there is something to read, or the connection was closed."""
        state = self._dul.state_machine.current_state
        try:
            if state == "Sta13":
                self._hear_out()
            elif state != "Sta6":
                self._hand_over()
            elif self._is_served and self._association.dimse.msg_queue.qsize() < _MOST_WAITING:
                self._serve()
        except Lost:
            self._dul.event_queue.put("Evt17")  # transport connection closed (PS3.8 section 9.2.2)
        except Garbled as error:
            log.warning("association.garbled", sentence=str(error))
            self._dul.event_queue.put("Evt19")  # invalid PDU: pynetdicom aborts

    def _is_open(self) -> bool:
        return self._association.is_established and self._dul.state_machine.current_state == "Sta6"

    def _serve(self) -> None:
        """Serve requests until something else comes."""
        with self._reactor_resting():
            while self._is_open():
                found = self._find_request() if self._begin is not None else None
                if found is None:
                    self._hand_over()
                    return
                try:
                    self._take(*found)
                except _Interrupted:
                    self._hand_over()
                    return
                if not self._more_comes():
                    return

    def _more_comes(self) -> bool:
        """Wait for the next request here, where it costs nothing, as long as pynetdicom has nothing to do."""
        connection, deadline = self._connection, time.monotonic() + self._limits.silence_s
        while self._dul.to_provider_queue.empty() and not self._dul._kill_thread and time.monotonic() < deadline:  # noqa: SLF001
            if getattr(connection, "pending", int)() or self._poll.poll(_LOOK_S * 1000):
                return True
        return False

    def _find_request(self) -> tuple[StoreRequest, int, int, int] | None:
        """Look whether a whole C-STORE-RQ comes next.

        Returns
        -------
        tuple or None
            The request, its context ID, the length of its PDV with header, and of its PDU without; None when something else comes.
        """
        kind, _, pdu_length = _PDU.unpack_from(self.source.ahead(_PDU.size))
        if kind != _P_DATA or pdu_length < _PDV.size:
            return None
        # Not a byte more than the PDU has: what lies here, and not in the socket, wakes nobody.
        self.source.ahead(_PDU.size + pdu_length if pdu_length <= _MOST_COMMAND else _HEADERS)
        pdv_length, context_id, control = _PDV.unpack_from(self.source.ahead(_HEADERS), _PDU.size)
        whole = control & 0x03 == _COMMAND_FRAGMENT | _LAST_FRAGMENT and 2 < pdv_length <= min(_MOST_COMMAND, pdu_length - 4)
        if not whole or context_id not in self._contexts:
            return None
        end = _PDU.size + 4 + pdv_length
        request = StoreRequest.parse(bytes(self.source.ahead(end)[_HEADERS:end]))
        return (request, context_id, 4 + pdv_length, pdu_length) if request else None

    def _take(self, request: StoreRequest, context_id: int, command_length: int, pdu_length: int) -> None:
        """Receive one message, whose command comes next, and answer it."""
        assert self._begin is not None
        self.source.take(_PDU.size + command_length)
        reception = self._begin(request, self._contexts[context_id])
        try:
            self._receive_data_set(reception, context_id, pdu_length - command_length)
        except BaseException:
            reception.abandon()
            raise
        status = reception.finish()
        try:
            self._connection.sendall(store_response(request, context_id, status))
        except OSError as error:
            raise Lost("the answer could not be sent") from error
        self._dul._idle_timer.restart()  # noqa: SLF001

    def _receive_data_set(self, reception: Reception, context_id: int, left_in_pdu: int) -> None:
        """Receive the data set, fragment by fragment, each as far as it has come."""
        source, began, paused_s = self.source, time.monotonic(), self.source.paused_s
        total, held, last = 0, 0, False
        while not last:
            header, left_in_pdu = self._next_header(left_in_pdu)
            length, context, control = _PDV.unpack(header)
            length, last = length - 2, bool(control & _LAST_FRAGMENT)
            left_in_pdu -= _PDV.size + length
            if context != context_id or control & _COMMAND_FRAGMENT or length < 0 or left_in_pdu < 0:
                raise Garbled("a fragment does not fit its message")
            total += length
            if total > self._limits.largest:
                raise Garbled("the data set is larger than is allowed")
            source.check_pace(began, paused_s, total - length)
            more = 0 if last else _PDV.size if left_in_pdu else _HEADERS
            while length:
                # Few large pieces instead of many small ones: each costs the interpreter's lock several times.
                if held == _BUFFER:
                    reception.write(self._buffer)
                    held = 0
                count = source.take_into(self._buffer[held : held + length], self._buffer[held : held + length + more])
                held, length = held + count, length - count
                source.check_pace(began, paused_s, total - length)
        if left_in_pdu:
            raise Garbled("a PDU goes on behind the end of its message")
        reception.write(self._buffer[:held])

    def _next_header(self, left_in_pdu: int) -> tuple[bytes, int]:
        """The next PDV's header, with that of a new PDU before it where the last one is used up; and what is left in the PDU."""
        if left_in_pdu:
            return self.source.take(_PDV.size), left_in_pdu
        kind, _, length = _PDU.unpack_from(self.source.ahead(_PDU.size, _HEADERS))
        if kind == _A_ABORT:
            raise _Interrupted
        if kind != _P_DATA:
            raise Garbled(f"a PDU of type {kind:#04x} came in mid-message")
        return self.source.take(_HEADERS)[_PDU.size :], int(length)

    def _hand_over(self) -> None:
        """Read one PDU as a whole, and hand it to pynetdicom's state machine."""
        kind, _, length = _PDU.unpack_from(self.source.ahead(_PDU.size))
        if length > self._longest.get(kind, _LONGEST_OTHER):
            raise Garbled(f"a PDU of type {kind:#04x} and {length} bytes is not expected here")
        encoded = bytearray(self.source.take(_PDU.size + length))
        if kind == _A_ASSOCIATE_RQ:
            encoded = legible(encoded)
        elif kind == _A_ABORT:
            encoded[_A_ABORT_SOURCE:] = bytes(2)  # an abort is one, whatever it says of its source and reason
        self._dul._idle_timer.restart()  # noqa: SLF001 - reading it may have taken its time
        try:
            pdu, event = self._dul._decode_pdu(encoded)  # noqa: SLF001
            if isinstance(pdu, A_ASSOCIATE_RQ):
                check_request(pdu)
        except Exception as error:  # the boundary: pynetdicom decodes, and anything can be in there
            raise Garbled(f"a PDU of type {kind:#04x} cannot be read ({type(error).__name__})") from error
        if kind == _A_ASSOCIATE_RQ:
            # pynetdicom stops its ARTIM timer now; when most of the time has passed, it would stand there as expired for ever.
            self._dul.artim_timer.restart()
        self._dul._recv_pdu.put(pdu)  # noqa: SLF001
        self._dul.event_queue.put(event)

    def _hear_out(self) -> None:
        """The association is over: what still comes is thrown away until the peer closes, but not for ever."""
        self._over_at = self._over_at or time.monotonic()
        count = self.source.discard()
        self._discarded += count
        if not count:
            raise Lost("the connection was closed")
        if time.monotonic() - self._over_at > _LISTENS_ON_S or self._discarded > _LISTENS_ON_TO:
            self._dul.event_queue.put("Evt18")  # as if the ARTIM timer had expired: pynetdicom closes

    @contextmanager
    def _reactor_resting(self) -> Iterator[None]:
        """Let the association's other thread, which polls a thousand times a second, rest meanwhile."""
        checkpoint = self._association._reactor_checkpoint  # noqa: SLF001
        checkpoint.clear()
        try:
            yield
        finally:
            checkpoint.set()
