"""The fast path of C-STORE: from the socket into the file, without a data set in memory.

pynetdicom accepts, negotiates, releases and aborts. Once an association is established, this module looks at what lies at
the front of its socket without taking it (MSG_PEEK). A C-STORE request it serves itself, in the thread that reads the socket:
fragments go to the station as they come, and the answer leaves in one piece. Everything else it leaves untouched for
pynetdicom's own state machine, and so whatever it does not cover: TLS, a command in several fragments, a context that was not
accepted.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from node.dimse.command import StoreRequest, store_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pynetdicom.association import Association

_P_DATA = 0x04
_PDU = struct.Struct(">BBI")  # a PDU's header: type, reserved, length (PS3.8 Table 9-22)
_PDV = struct.Struct(">IBB")  # a PDV's header: length, context, message control header (PS3.8 Table 9-23, Annex E.2)
_HEADERS = _PDU.size + _PDV.size
_COMMAND_FRAGMENT, _LAST_FRAGMENT = 0x01, 0x02

#: A command set with two UIDs of 64 characters is below 300 bytes; what does not fit here is no C-STORE of ours.
_MOST_COMMAND = 4096
_PEEK = 512
_BUFFER = 1 << 20
#: How long to look for the next request before looking whether pynetdicom has something to send.
_LOOK_S = 0.1


class Reception(Protocol):
    """One instance on its way in."""

    def write(self, fragment: memoryview) -> None:
        """Take the next bytes of the data set."""

    def finish(self) -> int:
        """Make it durable; return the status to answer."""

    def abandon(self) -> None:
        """The rest will not come."""


class Lost(Exception):
    """The peer broke the rules or the connection in mid-message."""


def _has_hung_up(connection: socket.socket) -> bool:
    """Wait a moment, for the rest of a few bytes; True when it cannot come, although something is still there to be read."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a sender may do.

    Attributes
    ----------
    silence_s : float
        Longest pause within a message.
    slowest : int
        Bytes per second, averaged over a message, below which it is given up after ``silence_s``: nobody holds a place by dribbling.
    largest : int
        Bytes of one data set.
    """

    silence_s: float
    slowest: int
    largest: int


class FastPath:
    """Serves the C-STORE requests of one association.

    Parameters
    ----------
    begin : callable
        Called with (request, transfer syntax UID) for each; gives its Reception.
    """

    def __init__(self, association: Association, limits: Limits, begin: Callable[[StoreRequest, str], Reception]) -> None:
        self._association, self._limits, self._begin = association, limits, begin
        self._dul = association.dul
        self._read_otherwise = self._dul._read_pdu_data  # noqa: SLF001 - the one seam between pynetdicom's reactor and its socket
        self._buffer = memoryview(bytearray(_BUFFER))

    def install(self) -> None:
        """Stand between the reactor and its socket, for this association only."""
        if type(self._socket) is not socket.socket:
            return  # TLS cannot be peeked into
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A time-out of Python's would poll before every read; the kernel's own costs nothing.
        self._socket.settimeout(None)
        seconds, rest = divmod(self._limits.silence_s, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", int(seconds), int(rest * 1e6)))
        self._dul._read_pdu_data = self._read  # type: ignore[method-assign]  # noqa: SLF001

    @property
    def _socket(self) -> socket.socket:
        transport = self._dul.socket
        if transport is None or transport.socket is None:
            raise Lost("the connection is closed")
        return transport.socket

    def _read(self) -> None:
        """Called by the reactor when there is something to read."""
        try:
            served = self._serve()
        except (Lost, OSError):
            self._abort()
            return
        if not served:
            self._read_otherwise()

    def _serve(self) -> bool:
        """Serve requests until something else comes; True when any was served."""
        served = False
        with self._reactor_resting():
            while self._association.is_established and self._dul.state_machine.current_state == "Sta6":
                found = self._peek_request()
                if found is None:
                    break
                self._take(*found)
                served = True
                if not self._more_comes():
                    break
        return served

    def _more_comes(self) -> bool:
        """Wait for the next request here, where it costs nothing, as long as pynetdicom has nothing to do."""
        connection, deadline = self._socket, time.monotonic() + self._limits.silence_s
        while self._dul.to_provider_queue.empty() and not self._dul._kill_thread and time.monotonic() < deadline:  # noqa: SLF001
            if select.select([connection], [], [], _LOOK_S)[0]:
                return True
        return False

    def _peek_request(self) -> tuple[StoreRequest, int, int, int] | None:
        """Look whether a whole C-STORE-RQ lies at the front of the socket.

        Returns
        -------
        tuple or None
            The request, its context ID, the length of its PDV with header, and of its PDU without; None when something else lies there.
        """
        front = self._peek(1)  # a release is shorter than the two headers of a request
        if front is None or front[0] != _P_DATA:
            return None
        if len(front) < _HEADERS:
            front = self._peek(_HEADERS)
        if front is None:
            return None
        _, _, pdu_length = _PDU.unpack_from(front)
        pdv_length, context_id, control = _PDV.unpack_from(front, _PDU.size)
        whole = control == _COMMAND_FRAGMENT | _LAST_FRAGMENT and 2 < pdv_length <= min(_MOST_COMMAND, pdu_length - 4)
        if not whole or context_id not in self._association._accepted_cx:  # noqa: SLF001
            return None
        end = _PDU.size + 4 + pdv_length
        message = front if len(front) >= end else self._peek(end)
        request = StoreRequest.parse(message[_HEADERS:end]) if message else None
        return (request, context_id, 4 + pdv_length, pdu_length) if request else None

    def _peek(self, least: int) -> bytes | None:
        """The next bytes, at least so many, left where they are; None when the connection is closed instead."""
        deadline = time.monotonic() + self._limits.silence_s
        while True:
            seen = self._socket.recv(max(least, _PEEK), socket.MSG_PEEK)
            if len(seen) >= least:
                return seen
            if not seen:
                return None
            if time.monotonic() > deadline or _has_hung_up(self._socket):
                raise Lost("the rest of a request did not come")

    def _take(self, request: StoreRequest, context_id: int, command_length: int, pdu_length: int) -> None:
        """Receive one message, whose command lies at the front of the socket, and answer it."""
        self._exactly(_PDU.size + command_length)
        syntax = str(self._association._accepted_cx[context_id].transfer_syntax[0])  # noqa: SLF001
        reception = self._begin(request, syntax)
        try:
            self._receive_data_set(reception, context_id, pdu_length - command_length)
        except BaseException:
            reception.abandon()
            raise
        status = reception.finish()
        self._socket.sendall(store_response(request, context_id, status))
        self._dul._idle_timer.restart()  # noqa: SLF001

    def _receive_data_set(self, reception: Reception, context_id: int, left_in_pdu: int) -> None:
        """Receive the data set, fragment by fragment, each as far as it has come."""
        began, total, held, last = time.monotonic(), 0, 0, False
        while not last:
            header, left_in_pdu = self._next_header(left_in_pdu)
            length, context, control = _PDV.unpack(header)
            length, last = length - 2, bool(control & _LAST_FRAGMENT)
            left_in_pdu -= _PDV.size + length
            if context != context_id or control & _COMMAND_FRAGMENT or length < 0 or left_in_pdu < 0:
                raise Lost("a fragment does not fit its message")
            total += length
            if total > self._limits.largest:
                raise Lost("the data set is larger than is allowed")
            self._check_pace(began, total - length)
            while length:
                held, count = self._fill(reception, held, length)
                length -= count
                self._check_pace(began, total - length)
        if left_in_pdu:
            raise Lost("a PDU goes on behind the end of its message")
        reception.write(self._buffer[:held])

    def _fill(self, reception: Reception, held: int, length: int) -> tuple[int, int]:
        """Take of one fragment what fits behind what the buffer holds; return what it holds then, and how much came.

        Few large pieces instead of many small ones: each costs the interpreter's lock several times.
        """
        if held == _BUFFER:
            reception.write(self._buffer)
            held = 0
        count = self._socket.recv_into(self._buffer[held:], min(length, _BUFFER - held), socket.MSG_WAITALL)
        if not count:
            raise Lost("the connection was closed in mid-message")
        return held + count, count

    def _next_header(self, left_in_pdu: int) -> tuple[bytes, int]:
        """The next PDV's header, with that of a new PDU before it where the last one is used up; and what is left in the PDU."""
        if left_in_pdu:
            return self._exactly(_PDV.size), left_in_pdu
        both = self._exactly(_HEADERS)
        kind, _, length = _PDU.unpack_from(both)
        if kind != _P_DATA:
            raise Lost(f"a PDU of type {kind:#04x} came in mid-message")
        return both[_PDU.size :], int(length)

    def _check_pace(self, began: float, total: int) -> None:
        seconds = time.monotonic() - began
        if seconds > self._limits.silence_s and total < seconds * self._limits.slowest:
            raise Lost("the sender is slower than is allowed")

    def _exactly(self, count: int) -> bytes:
        got = self._socket.recv(count, socket.MSG_WAITALL)
        if len(got) != count:
            raise Lost("the connection was closed in mid-message")
        return got

    @contextmanager
    def _reactor_resting(self) -> Iterator[None]:
        """Let the association's other thread, which polls a thousand times a second, rest meanwhile."""
        checkpoint = self._association._reactor_checkpoint  # noqa: SLF001
        checkpoint.clear()
        try:
            yield
        finally:
            checkpoint.set()

    def _abort(self) -> None:
        """Tell the peer if it still listens (A-ABORT, PS3.8 section 9.3.8), and the state machine that the connection is gone."""
        transport = self._dul.socket
        if transport is not None and transport.socket is not None:
            with suppress(OSError):
                transport.socket.sendall(struct.pack(">BBIBBBB", 0x07, 0, 4, 0, 0, 2, 0))
        self._dul.event_queue.put("Evt17")
