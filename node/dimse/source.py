"""The bytes of one connection, in the order in which they come, plain or by TLS; nobody is waited for longer than is allowed.

Bytes may be looked at before they are taken. What was looked at is kept here and not in the kernel (MSG_PEEK), because there is
nothing to be peeked at beneath TLS.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node.dimse.rate import Bucket

#: How much is read at once of a sender whose pace is held down: a fraction of a second of it, in the usual case.
_SIP = 1 << 16


class Lost(Exception):
    """The peer closed the connection, or it broke."""


class Garbled(Exception):
    """The peer broke the rules, or was slower or more silent than is allowed: it is shown out."""


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
    request_s : float
        From the connection to the end of the association request (ARTIM, PS3.8 section 9.1.5), however its bytes come.
    longest_pdu : int
        Bytes of one PDU that is read as a whole; a data set's fragments go to the station as they come, whatever their PDU claims.
    """

    silence_s: float
    slowest: int
    largest: int
    request_s: float = 30.0
    longest_pdu: int = 1 << 20


class Source:
    """What a peer sends.

    Attributes
    ----------
    paused_s : float
        How long we have let the peer wait, which is not its fault.
    """

    def __init__(self, connection: socket.socket, limits: Limits) -> None:
        self._connection, self._limits = connection, limits
        self._held = bytearray()
        self._stopped = threading.Event()
        self._bucket: Bucket | None = None
        self._is_plain = type(connection) is socket.socket
        self._flags = socket.MSG_WAITALL if self._is_plain else 0
        self._until: float | None = time.monotonic() + limits.request_s
        self.paused_s = 0.0
        connection.settimeout(min(limits.request_s, limits.silence_s))

    def settle(self, bucket: Bucket | None) -> None:
        """From now on, the association is established: what counts is its pace, which ``bucket`` holds down."""
        self._until, self._bucket = None, bucket
        silence_s = self._limits.silence_s
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self._is_plain:
            self._connection.settimeout(silence_s)
            return
        # A time-out of Python's would poll before every read; the kernel's own costs nothing. The one for sending: a peer that reads
        # none of our answers must not hold us up for ever.
        self._connection.settimeout(None)
        seconds, rest = divmod(silence_s, 1)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self._connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), int(rest * 1e6)))

    def stop(self) -> None:
        """Have every read end at once, now and later."""
        self._stopped.set()

    def ahead(self, least: int, most: int = 0) -> bytearray:
        """The next bytes, left where they are: at least ``least``, and up to ``most`` when they are there already.

        Raises
        ------
        Lost, Garbled
            When they do not come, or not in time.
        """
        began, paused_s = time.monotonic(), self.paused_s
        while (missing := least - len(self._held)) > 0:
            flags = 0 if most else self._flags
            piece = self._read(max(missing, most - len(self._held)), flags)
            if not piece:
                raise Lost("the connection was closed")
            self._held += piece
            self.check_pace(began, paused_s, len(self._held))
        return self._held

    def take(self, count: int) -> bytes:
        """The next bytes, so many."""
        front = bytes(memoryview(self.ahead(count))[:count])
        del self._held[:count]
        return front

    def take_into(self, view: memoryview, beyond: memoryview) -> int:
        """Take at least one byte, and as many as ``view`` holds if they are there; return how many.

        Parameters
        ----------
        view : memoryview
            Where they go.
        beyond : memoryview
            The same and a little more: what comes behind is read by the same call, and held.
        """
        if self._held:
            count = min(len(view), len(self._held))
            view[:count] = self._held[:count]
            del self._held[:count]
            return count
        if self._bucket is not None:
            view = beyond = view[:_SIP]
        try:
            count = self._connection.recv_into(beyond, len(beyond))
        except OSError as error:
            raise _explain(error) from error
        self._spend(count)
        if not count:
            raise Lost("the connection was closed in mid-message")
        self._held += beyond[len(view) : count]
        return min(count, len(view))

    def discard(self) -> int:
        """Take what is there and throw it away; return how much it was, 0 when the connection was closed."""
        self._held.clear()
        self._until = None
        return len(self._read(1 << 16, 0))

    def check_pace(self, began: float, paused_s: float, count: int) -> None:
        """Give up a peer that has sent too little since ``began``, when ``paused_s`` was the time that we had let it wait."""
        seconds = time.monotonic() - began - (self.paused_s - paused_s)
        if seconds > self._limits.silence_s and count < seconds * self._limits.slowest:
            raise Garbled("the sender is slower than is allowed")

    def _read(self, count: int, flags: int) -> bytes:
        if self._until is not None:
            left_s = self._until - time.monotonic()
            if left_s <= 0:
                raise Garbled("the association request did not come in time")
            self._connection.settimeout(min(left_s, self._limits.silence_s))
        try:
            got = self._connection.recv(count, flags)
        except OSError as error:
            raise _explain(error) from error
        self._spend(len(got))
        return got

    def _spend(self, count: int) -> None:
        """Let the peer wait for what it has sent too early: what is not read fills its windows, and it stops by itself."""
        if self._bucket is not None and (pause_s := self._bucket.spend(count)) > 0:
            self._stopped.wait(pause_s)
            self.paused_s += pause_s


def _explain(error: OSError) -> Lost | Garbled:
    if isinstance(error, BlockingIOError | TimeoutError):
        return Garbled("the sender fell silent")
    return Lost(f"the connection broke ({type(error).__name__})")
